package org.microyolo.app

import android.app.Activity
import android.graphics.Matrix
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraManager
import android.hardware.display.DisplayManager
import android.media.Image
import android.os.Build
import android.view.Display
import android.view.TextureView
import android.view.WindowManager
import org.microyolo.core.Affine
import org.microyolo.core.CameraSizes
import org.microyolo.core.CameraView
import org.microyolo.core.Notice
import org.microyolo.core.Orientation
import org.microyolo.core.Size

/**
 * The camera of one [activity]: its picture in [preview], upright however the screen is held, and its frames to the
 * engine. [onReady] when [preview] can show it.
 */
class Viewfinder(
    private val activity: Activity,
    private val preview: TextureView,
    private val session: Session,
    private val settings: Settings,
    private val onReady: () -> Unit
) : Camera.Listener,
    TextureView.SurfaceTextureListener,
    DisplayManager.DisplayListener {
    private val displays = activity.getSystemService(DisplayManager::class.java)
    private val camera = Camera(activity.resources, activity.getSystemService(CameraManager::class.java), this)
    private var info: CameraInfo? = null
    private var sizes: CameraSizes? = null

    init {
        preview.surfaceTextureListener = this
        displays.registerDisplayListener(this, null)
    }

    val isReady get() = preview.surfaceTexture != null

    /** Needs the permission. */
    fun start() {
        val texture = preview.surfaceTexture ?: return
        stop()
        val cameras =
            try {
                camera.list()
            } catch (error: CameraAccessException) {
                onCameraLost(error.message.orEmpty())
                return
            }
        val chosen = cameras.find { it.front == settings.front } ?: cameras.firstOrNull()
        if (chosen == null) {
            session.screen.onNoCamera(Notice.NoCamera)
            return
        }
        session.engine.reset()
        info = chosen
        sizes = camera.open(chosen, texture)
        place()
    }

    fun stop() {
        camera.close()
        sizes = null
        session.screen.onCamera(null)
    }

    /** For good. The [session] may be another activity's by the time the system takes [preview] down. */
    fun close() {
        displays.unregisterDisplayListener(this)
        preview.surfaceTextureListener = null
    }

    /** Lays the picture into [preview], as the screen is held now and the settings say. */
    fun place() {
        val from = info ?: return
        val (shown, frame) = sizes ?: return
        val now = CameraView(frame, Orientation(from.sensor, displayDegrees(), from.front))
        val before = session.screen.camera
        if (before != null && before != now) session.engine.reset()
        session.screen.onCamera(now)
        if (preview.width == 0 || preview.height == 0) return
        val view = Size(preview.width, preview.height)
        preview.setTransform(matrix(now.orientation.textureTransform(shown, view, settings.scaleMode)))
    }

    private fun displayDegrees() = (currentDisplay()?.rotation ?: 0) * 90

    @Suppress("DEPRECATION")
    private fun currentDisplay(): Display? {
        if (Build.VERSION.SDK_INT >= 30) return activity.display
        return activity.getSystemService(WindowManager::class.java).defaultDisplay
    }

    override fun onCameraFrame(frame: Image) {
        val view = session.screen.camera
        if (view == null) frame.close() else session.engine.offer(frame, view.orientation.upright)
    }

    override fun onCameraLost(why: String) {
        sizes = null
        session.screen.onNoCamera(Notice.Lost(why))
    }

    override fun onSurfaceTextureAvailable(texture: SurfaceTexture, width: Int, height: Int) = onReady()

    override fun onSurfaceTextureSizeChanged(texture: SurfaceTexture, width: Int, height: Int) = place()

    override fun onSurfaceTextureDestroyed(texture: SurfaceTexture): Boolean {
        stop()
        return true
    }

    override fun onSurfaceTextureUpdated(texture: SurfaceTexture) = Unit

    override fun onDisplayAdded(id: Int) = Unit

    override fun onDisplayRemoved(id: Int) = Unit

    // The screen turned upside down does not start the activity anew.
    override fun onDisplayChanged(id: Int) = place()
}

fun matrix(affine: Affine) = Matrix().apply {
    val (a, b, c, d, e, f) = affine
    setValues(doubleArrayOf(a, b, c, d, e, f, 0.0, 0.0, 1.0).map { it.toFloat() }.toFloatArray())
}
