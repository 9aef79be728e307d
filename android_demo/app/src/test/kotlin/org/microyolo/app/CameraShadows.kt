package org.microyolo.app

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.Rect
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CaptureRequest
import android.hardware.camera2.impl.CameraCaptureSessionImpl
import android.hardware.camera2.impl.CameraDeviceImpl
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.view.Surface
import android.view.TextureView
import java.nio.ByteBuffer
import java.util.Collections
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicInteger
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.annotation.RealObject
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowCameraDeviceImpl
import org.robolectric.shadows.ShadowView
import org.robolectric.util.ReflectionHelpers

/** A camera of Robolectric's that has sessions before Android 9 too, and says which devices are open. */
@Implements(value = CameraDeviceImpl::class, isInAndroidSdk = false)
class CameraShadow : ShadowCameraDeviceImpl() {
    @RealObject
    private lateinit var device: CameraDeviceImpl

    @Implementation
    public override fun createCaptureSession(
        outputs: List<Surface>,
        callback: CameraCaptureSession.StateCallback,
        handler: Handler
    ) {
        checkIfCameraClosedOrInError()
        if (device !in open) open += device
        val session = Shadow.newInstanceOf(CameraCaptureSessionImpl::class.java)
        ReflectionHelpers.setField(CameraCaptureSessionImpl::class.java, session, "mStateCallback", callback)
        ReflectionHelpers.setField(CameraCaptureSessionImpl::class.java, session, "mDeviceImpl", device)
        handler.post { if (refuses) callback.onConfigureFailed(session) else callback.onConfigured(session) }
    }

    @Implementation
    public override fun close() {
        super.close()
        open -= device
    }

    companion object {
        val open = CopyOnWriteArrayList<CameraDevice>()

        /** Whether it refuses the sizes of the streams. */
        @Volatile
        var refuses = false

        fun reset() {
            open.clear()
            refuses = false
        }
    }
}

@Implements(value = CameraCaptureSessionImpl::class, isInAndroidSdk = false)
class CaptureShadow {
    @Implementation
    fun setRepeatingRequest(
        request: CaptureRequest,
        callback: CameraCaptureSession.CaptureCallback?,
        handler: Handler?
    ): Int {
        streaming.incrementAndGet()
        return 1
    }

    companion object {
        /** Streams that were started. */
        val streaming = AtomicInteger()

        fun reset() = streaming.set(0)
    }
}

/** Gives out what [deliver] brings, at most as many at a time as were asked for. */
@Implements(ImageReader::class)
class ReaderShadow {
    @RealObject
    private lateinit var reader: ImageReader
    private val target by lazy { Surface(SurfaceTexture(0)) }
    private val given = Collections.synchronizedList(ArrayList<Frame>())
    private var listener: ImageReader.OnImageAvailableListener? = null
    private var handler: Handler? = null

    @Volatile
    private var newest: Frame? = null

    @Implementation
    fun setOnImageAvailableListener(listener: ImageReader.OnImageAvailableListener?, handler: Handler?) {
        this.listener = listener
        this.handler = handler
        if (listener != null) open += this
    }

    @Implementation
    fun getSurface(): Surface = target

    @Implementation
    fun acquireLatestImage(): Image? {
        val frame = newest ?: return null
        newest = null
        given.removeAll { it.closed }
        check(given.size < reader.maxImages) { "${given.size} images are open" }
        given += frame
        return frame
    }

    @Implementation
    fun close() {
        open -= this
        target.release()
    }

    /** The camera has taken a picture. */
    fun deliver(frame: Frame) {
        newest?.close()
        newest = frame
        handler!!.post { listener?.onImageAvailable(reader) }
    }

    companion object {
        val open = CopyOnWriteArrayList<ReaderShadow>()

        fun reset() = open.clear()
    }
}

/** A camera's picture in YUV_420_888. */
class Frame(private val width: Int, private val height: Int, planes: List<YuvPlane>) : Image() {
    private val planes = Array<Image.Plane>(planes.size) { planes[it] }

    @Volatile
    var closed = false
        private set

    override fun getFormat() = android.graphics.ImageFormat.YUV_420_888

    override fun getWidth() = width

    override fun getHeight() = height

    override fun getTimestamp() = 0L

    override fun getTransform() = 0

    override fun getScalingMode() = 0

    override fun getPlanes() = planes

    override fun close() {
        closed = true
    }
}

class YuvPlane(bytes: ByteArray, private val rowStride: Int, private val pixelStride: Int) : Image.Plane() {
    private val bytes = ByteBuffer.allocateDirect(bytes.size).put(bytes)

    override fun getRowStride() = rowStride

    override fun getPixelStride() = pixelStride

    override fun getBuffer() = bytes.apply { (this as java.nio.Buffer).rewind() }
}

/** Draws what the sensor sees as the system does: upright for the device as it is held, then by the transform. */
@Implements(TextureView::class)
class PreviewShadow : ShadowView() {
    @RealObject
    private lateinit var view: TextureView

    @Implementation
    public override fun draw(canvas: Canvas) {
        val (picture, sensor, front) = seen ?: return
        val turned = Bitmap.createBitmap(
            picture,
            0,
            0,
            picture.width,
            picture.height,
            Matrix().apply {
                postRotate(sensor.toFloat())
                if (front) postScale(-1f, 1f)
            },
            true
        )
        canvas.save()
        canvas.concat(view.getTransform(null))
        canvas.drawBitmap(turned, null, Rect(0, 0, view.width, view.height), Paint(Paint.FILTER_BITMAP_FLAG))
        canvas.restore()
    }

    companion object {
        /** The sensor's picture, its SENSOR_ORIENTATION, and whether it looks at the user. */
        var seen: Triple<Bitmap, Int, Boolean>? = null

        fun forget() {
            seen = null
        }
    }
}
