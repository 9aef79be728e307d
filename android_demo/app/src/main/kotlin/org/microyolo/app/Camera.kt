package org.microyolo.app

import android.Manifest
import android.content.res.Resources
import android.graphics.ImageFormat
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.CaptureRequest
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import android.os.Looper
import android.view.Surface
import org.microyolo.core.CameraSizes
import org.microyolo.core.ModelException
import org.microyolo.core.Size

/** A camera of the device. [front] if it looks at the user; [sensor] is its SENSOR_ORIENTATION. */
data class CameraInfo(val id: String, val front: Boolean, val sensor: Int)

/** One camera at a time: a stream for the screen, and frames for the detector. To be called from the main thread. */
class Camera(private val resources: Resources, private val manager: CameraManager, private val listener: Listener) {
    interface Listener {
        /** On the camera's thread; the receiver closes [frame]. */
        fun onCameraFrame(frame: Image)

        /** On the main thread: the camera is closed, with the reason. */
        fun onCameraLost(why: String)
    }

    private class Opened(
        val thread: HandlerThread,
        val handler: Handler,
        val reader: ImageReader,
        val texture: SurfaceTexture
    ) {
        val preview = Surface(texture)

        @Volatile
        var failed = false

        // Used on the camera's thread only.
        var device: CameraDevice? = null
        var closed = false

        fun finish() {
            device?.close()
            reader.setOnImageAvailableListener(null, null)
            reader.close()
            preview.release()
            thread.quitSafely()
        }
    }

    private val main = Handler(Looper.getMainLooper())
    private var opened: Opened? = null

    /** The device's cameras, those that look away from the user first. [CameraAccessException] if it cannot be asked. */
    fun list(): List<CameraInfo> = manager.cameraIdList
        .map { id ->
            val facts = manager.getCameraCharacteristics(id)
            CameraInfo(
                id,
                facts[CameraCharacteristics.LENS_FACING] == CameraCharacteristics.LENS_FACING_FRONT,
                facts[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0
            )
        }.sortedBy { it.front }

    /** Streams [camera] into [texture]; the sizes of the streams, or null if it was lost at once. Needs the permission. */
    fun open(camera: CameraInfo, texture: SurfaceTexture): CameraSizes? {
        close()
        try {
            val streams = manager.getCameraCharacteristics(
                camera.id
            )[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP]
            val previews = streams?.getOutputSizes(SurfaceTexture::class.java).orEmpty()
            val frames = streams?.getOutputSizes(ImageFormat.YUV_420_888).orEmpty()
            val sizes = CameraSizes.choose(previews.map(::size), frames.map(::size))
            start(camera, sizes, texture)
            return sizes
        } catch (error: CameraAccessException) {
            lost(error.message.orEmpty())
        } catch (error: SecurityException) {
            lost(error.message ?: Manifest.permission.CAMERA)
        } catch (error: ModelException) {
            lost(error.message.orEmpty())
        } catch (error: IllegalArgumentException) {
            lost(error.message.orEmpty())
        }
        return null
    }

    private fun start(camera: CameraInfo, sizes: CameraSizes, texture: SurfaceTexture) {
        val thread = HandlerThread("camera").apply { start() }
        val handler = Handler(thread.looper)
        // Two, so that the newest can be had while the one before it is dropped.
        val reader = ImageReader.newInstance(sizes.frame.width, sizes.frame.height, ImageFormat.YUV_420_888, 2)
        reader.setOnImageAvailableListener({ it.acquireLatestImage()?.let(listener::onCameraFrame) }, handler)
        val now = Opened(thread, handler, reader, texture)
        opened = now
        manager.openCamera(camera.id, DeviceCallback(now, sizes), handler)
    }

    /** Frees the camera. No frame comes any more. */
    fun close() {
        val last = opened ?: return
        opened = null
        last.handler.post {
            last.closed = true
            // While it is being opened it cannot be closed; onOpened sees to that.
            if (last.device != null || last.failed) last.finish()
        }
        // The next user of the camera, perhaps this app, gets it only after it was closed.
        last.thread.join(CLOSING_MILLIS)
    }

    private fun lost(why: String) {
        opened?.failed = true
        close()
        listener.onCameraLost(why)
    }

    private fun lostLater(camera: Opened, why: String) {
        main.post { if (opened === camera) lost(why) }
    }

    private inner class DeviceCallback(private val camera: Opened, private val sizes: CameraSizes) :
        CameraDevice.StateCallback() {
        override fun onOpened(device: CameraDevice) {
            camera.device = device
            if (camera.closed) {
                camera.finish()
                return
            }
            // A view that was laid out meanwhile has set its own size.
            camera.texture.setDefaultBufferSize(sizes.preview.width, sizes.preview.height)
            try {
                // The newer way to say this is missing before Android 9.
                @Suppress("DEPRECATION")
                device.createCaptureSession(
                    listOf(camera.preview, camera.reader.surface),
                    SessionCallback(camera, sizes),
                    camera.handler
                )
            } catch (error: CameraAccessException) {
                lostLater(camera, error.message.orEmpty())
            } catch (error: IllegalArgumentException) {
                lostLater(camera, error.message.orEmpty())
            }
        }

        override fun onDisconnected(device: CameraDevice) {
            gone(device, resources.getString(R.string.camera_in_use))
        }

        override fun onError(device: CameraDevice, error: Int) {
            gone(device, resources.getString(R.string.camera_error, error))
        }

        private fun gone(device: CameraDevice, why: String) {
            device.close()
            camera.failed = true
            if (camera.closed) camera.finish() else lostLater(camera, why)
        }
    }

    private inner class SessionCallback(private val camera: Opened, private val sizes: CameraSizes) :
        CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            if (camera.closed) return
            try {
                val request = session.device.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
                request.addTarget(camera.preview)
                request.addTarget(camera.reader.surface)
                request[CaptureRequest.CONTROL_AF_MODE] = CaptureRequest.CONTROL_AF_MODE_CONTINUOUS_PICTURE
                session.setRepeatingRequest(request.build(), null, camera.handler)
            } catch (error: CameraAccessException) {
                lostLater(camera, error.message.orEmpty())
            } catch (error: IllegalStateException) {
                lostLater(camera, error.message.orEmpty())
            }
        }

        override fun onConfigureFailed(session: CameraCaptureSession) {
            val (preview, frame) = sizes
            lostLater(
                camera,
                resources.getString(R.string.camera_refused, preview.width, preview.height, frame.width, frame.height)
            )
        }
    }

    private fun size(size: android.util.Size) = Size(size.width, size.height)

    private companion object {
        const val CLOSING_MILLIS = 500L
    }
}
