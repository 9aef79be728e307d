package org.microyolo.app

import android.Manifest
import android.content.Context
import android.content.Intent
import android.content.res.Configuration
import android.graphics.ImageFormat
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraManager
import android.net.Uri
import android.os.Bundle
import android.os.Looper
import android.util.Size
import android.view.TextureView
import android.view.View
import android.widget.TextView
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assert.fail
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowBitmapFactory
import org.robolectric.shadows.ShadowCameraCharacteristics
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.shadows.StreamConfigurationMapBuilder
import org.robolectric.util.ReflectionHelpers

/** A device that runs the app, and its user. */
class Phone {
    val app = RuntimeEnvironment.getApplication() as TestApp
    val settings = Settings(app.getSharedPreferences("settings", Context.MODE_PRIVATE))
    private var controller: ActivityController<MainActivity>? = null
    private val frames = ArrayList<Frame>()

    init {
        CameraShadow.reset()
        CaptureShadow.reset()
        ReaderShadow.reset()
        PreviewShadow.forget()
        // Where it does not draw itself it otherwise takes anything for a picture.
        ShadowBitmapFactory.setAllowInvalidImageData(false)
    }

    /** Of tests that failed. */
    private val before = running()

    val activity: MainActivity get() = controller!!.get()

    // What the device is like.

    fun grant() = shadowOf(app).grantPermissions(Manifest.permission.CAMERA)

    fun deny() = shadowOf(app).denyPermissions(Manifest.permission.CAMERA)

    /** Whether the system would explain itself when the permission is asked for. */
    fun mayAsk(may: Boolean) =
        shadowOf(app.packageManager).setShouldShowRequestPermissionRationale(Manifest.permission.CAMERA, may)

    fun camera(id: String, front: Boolean, sensor: Int, vararg sizes: Size) {
        val facts = ShadowCameraCharacteristics.newCameraCharacteristics()
        val facing = if (front) CameraCharacteristics.LENS_FACING_FRONT else CameraCharacteristics.LENS_FACING_BACK
        val streams = StreamConfigurationMapBuilder.newBuilder()
        for (size in sizes) streams.addOutputSize(size).addOutputSize(ImageFormat.YUV_420_888, size)
        shadowOf(facts).apply {
            set(CameraCharacteristics.LENS_FACING, facing)
            set(CameraCharacteristics.SENSOR_ORIENTATION, sensor)
            set(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP, streams.build())
        }
        cameras.addCamera(id, facts)
    }

    val cameras: ShadowCameraManager
        get() = Shadow.extract(app.getSystemService(Context.CAMERA_SERVICE) as CameraManager)

    // What happens to the app.

    fun start(state: Bundle? = null) = apply {
        controller = Robolectric.buildActivity(MainActivity::class.java)
        controller!!.create(state).start()
        if (state != null) controller!!.restoreInstanceState(state)
        controller!!.postCreate(state).resume().visible()
        settle()
        surface()
    }

    /** The system has made what the preview is drawn into. */
    fun surface() {
        val preview = view<TextureView>(R.id.preview)
        if (preview.surfaceTexture != null) return
        val texture = SurfaceTexture(0)
        preview.setSurfaceTexture(texture)
        preview.surfaceTextureListener?.onSurfaceTextureAvailable(texture, preview.width, preview.height)
        settle()
    }

    fun pause() = controller!!.pause()

    fun stop() = controller!!.stop()

    fun resume() {
        controller!!.restart().start().resume()
        settle()
    }

    /** As a new activity of the same task, with what [qualifiers] say. */
    fun turn(qualifiers: String) {
        val resources = app.resources
        val before = Configuration(resources.configuration)
        RuntimeEnvironment.setQualifiers(qualifiers)
        val now = resources.configuration
        controller!!.configurationChange(now, resources.displayMetrics, before.diff(now)).visible()
        settle()
        surface()
    }

    /** The system takes the process away, and the user comes back. */
    fun die() {
        val state = Bundle()
        controller!!.saveInstanceState(state).pause().stop().destroy()
        freed()
        start(state)
    }

    fun frame(frame: Frame) {
        frames += frame
        until("a stream") { CaptureShadow.streaming.get() > 0 && ReaderShadow.open.isNotEmpty() }
        ReaderShadow.open.last().deliver(frame)
    }

    /** The user chooses what is at [uri]. */
    fun choose(uri: Uri) {
        click(R.id.photo_button)
        // Permissions are asked for in the same way.
        val started = generateSequence { shadowOf(activity).nextStartedActivityForResult }
        val asked = started.first { it.intent.action == Intent.ACTION_OPEN_DOCUMENT }
        shadowOf(activity).receiveResult(asked.intent, android.app.Activity.RESULT_OK, Intent().setData(uri))
        settle()
    }

    fun click(id: Int) {
        assertTrue("clicked", view<View>(id).performClick())
        settle()
    }

    // What is seen.

    fun <V : View> view(id: Int): V = activity.findViewById(id)

    fun text(id: Int) = view<TextView>(id).run { if (isShown) text.toString() else "" }

    val objects get() = view<View>(R.id.overlay).contentDescription.toString()

    fun settle() = shadowOf(Looper.getMainLooper()).idle()

    /** Lets the app work until [condition]. Fails, saying [what], if that does not come. */
    fun until(what: String, condition: () -> Boolean) {
        val end = System.nanoTime() + PATIENCE
        while (true) {
            settle()
            if (condition()) return
            if (System.nanoTime() > end) fail("waited for $what; ${seen()}")
            Thread.sleep(2)
        }
    }

    private fun seen() = "status '${text(R.id.status)}', notice '${text(R.id.notice_text)}', objects '$objects', " +
        "threads ${threads()}"

    /** The user leaves for good; nothing may be left. */
    fun end() {
        controller!!.pause().stop().destroy()
        freed()
    }

    /** A new one follows in the same test. */
    fun forget() {
        app.files.clear()
        app.runtimes.onGpu = null
        for (id in app.getSystemService(CameraManager::class.java).cameraIdList) cameras.removeCamera(id)
        PreviewShadow.forget()
        app.getSharedPreferences("settings", Context.MODE_PRIVATE).edit().clear().apply()
    }

    /** Threads, interpreters, cameras and images that are left over. */
    private fun freed() {
        val end = System.nanoTime() + PATIENCE
        while (left().isNotEmpty() && System.nanoTime() < end) {
            settle()
            Thread.sleep(2)
        }
        assertEquals("left over", emptyList<String>(), left())
        // Robolectric would wait for it to be idle, and what is gone never is.
        ReflectionHelpers.setStaticField(ShadowCameraManager::class.java, "lastCallbackHandler", null)
    }

    private fun left() = threads() +
        List(app.runtimes.run { opened.get() - closed.get() }) { "interpreter" } +
        CameraShadow.open.map { "camera ${it.id}" } +
        ReaderShadow.open.map { "reader" } +
        frames.filterNot { it.closed }.map { "image" }

    private fun threads() = (running() - before).map { it.name }

    /** Asked for every two milliseconds, so not by their stacks, for which all would have to stop. */
    private fun running(): Set<Thread> {
        val all = generateSequence(Thread.currentThread().threadGroup) { it.parent }.last()
        val found = arrayOfNulls<Thread>(2 * all.activeCount() + 64)
        val count = all.enumerate(found)
        return found.take(count).filterNotNull().filter { it.name == "camera" || it.name == "inference" }.toSet()
    }

    private companion object {
        /** Far more than anything takes, also on a machine that has much else to do: only tests that fail are slow. */
        const val PATIENCE = 120_000_000_000L
    }
}
