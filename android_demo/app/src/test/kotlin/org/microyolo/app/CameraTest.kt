package org.microyolo.app

import android.hardware.camera2.CameraDevice
import android.os.Handler
import android.util.Size
import android.view.Surface
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowCameraManager
import org.robolectric.shadows.ShadowDisplay
import org.robolectric.util.ReflectionHelpers

/** The camera's frames, and everything that becomes of a camera. */
@RunWith(AppRunner::class)
class CameraTest {
    private val phone = Phone()

    private fun open(scene: Scene, front: Boolean, sensor: Int, upright: Int) {
        val (width, height) = scene.size(upright)
        phone.camera("0", front, sensor, Size(width, height))
        phone.grant()
        phone.settings.front = front
        phone.start()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
    }

    private fun see(scene: Scene, upright: Int) {
        phone.frame(scene.frame(upright))
        phone.until("objects") { phone.objects != phone.app.getString(R.string.no_objects) }
    }

    /** However the sensor lies in the device and whichever way it looks. */
    private fun shows(front: Boolean, sensor: Int, display: Int = 0) {
        val upright = Math.floorMod(if (front) sensor + display else sensor - display, 360)
        for ((scene, fill) in listOf(Scene.all[0] to false, Scene.all[1] to true)) {
            phone.settings.fill = fill
            open(scene, front, sensor, upright)
            see(scene, upright)
            val wanted = scene.onScreen(scene.frame, phone.view(R.id.overlay), fill, front)
            assertTrue("objects", wanted.isNotEmpty())
            assertShown("front $front, sensor $sensor, display $display, fill $fill", wanted, phone)
            phone.end()
            phone.cameras.removeCamera("0")
        }
    }

    @Test fun `back at 0`() = shows(false, 0)

    @Test fun `back at 90`() = shows(false, 90)

    @Test fun `back at 180`() = shows(false, 180)

    @Test fun `back at 270`() = shows(false, 270)

    @Test fun `front at 0`() = shows(true, 0)

    @Test fun `front at 90`() = shows(true, 90)

    @Test fun `front at 180`() = shows(true, 180)

    @Test fun `front at 270`() = shows(true, 270)

    @Test
    fun `held sideways either way`() {
        RuntimeEnvironment.setQualifiers("w891dp-h411dp-land")
        for ((rotation, degrees) in listOf(Surface.ROTATION_90 to 90, Surface.ROTATION_270 to 270)) {
            rotate(rotation)
            shows(false, 90, degrees)
            shows(true, 270, degrees)
        }
    }

    @Test
    fun `upside down, which makes no new activity`() {
        val scene = Scene.all[0]
        open(scene, false, 90, 90)
        see(scene, 90)
        rotate(Surface.ROTATION_180)
        phone.settle()
        assertEquals("what lay elsewhere", phone.app.getString(R.string.no_objects), phone.objects)
        see(scene, 270)
        assertShown("display 180", scene.onScreen(scene.frame, phone.view(R.id.overlay), false, false), phone)
        phone.end()
    }

    private fun rotate(rotation: Int) = shadowOf(ShadowDisplay.getDefaultDisplay()).setRotation(rotation)

    @Test
    fun `frames that come while one is searched are dropped and closed`() {
        val scene = Scene.all[0]
        open(scene, false, 90, 90)
        val hold = CountDownLatch(1)
        phone.app.runtimes.hold = hold
        val frames = List(5) { scene.frame(90) }
        phone.frame(frames[0])
        phone.until("the first to be taken") { frames[0].closed }
        for (frame in frames.drop(1)) {
            phone.frame(frame)
            phone.until("the next to be dropped") { frame.closed }
        }
        hold.countDown()
        phone.until("objects") { phone.objects != phone.app.getString(R.string.no_objects) }
        assertEquals(1, phone.app.runtimes.runs.get())
        phone.end()
    }

    @Test
    fun `the other camera`() {
        val scene = Scene.all[0]
        val (width, height) = scene.size(270)
        phone.camera("1", true, 270, Size(width, height))
        open(scene, false, 90, 90)
        see(scene, 90)
        phone.click(R.id.flip_button)
        phone.until("the front camera") {
            CameraShadow.open.map { it.id } == listOf("1") && ReaderShadow.open.size == 1
        }
        assertEquals(phone.app.getString(R.string.no_objects), phone.objects)
        see(scene, 270)
        assertShown("front", scene.onScreen(scene.frame, phone.view(R.id.overlay), false, true), phone)
        phone.end()
    }

    @Test
    fun `another app takes the camera, and gives it back`() {
        val scene = Scene.all[0]
        open(scene, false, 90, 90)
        see(scene, 90)
        phone.cameras.triggerDisconnect()
        lost(R.string.camera_in_use)
        phone.click(R.id.notice_button)
        phone.until("the camera") { CaptureShadow.streaming.get() == 2 && ReaderShadow.open.size == 1 }
        assertEquals("", phone.text(R.id.notice_text))
        see(scene, 90)
        phone.end()
    }

    @Test
    fun `the camera breaks`() {
        open(Scene.all[0], false, 90, 90)
        phone.until("the camera") { CaptureShadow.streaming.get() == 1 }
        onCallback { callback, device -> callback.onError(device, CameraDevice.StateCallback.ERROR_CAMERA_SERVICE) }
        lost(phone.app.getString(R.string.camera_error, CameraDevice.StateCallback.ERROR_CAMERA_SERVICE))
        phone.end()
    }

    @Test
    fun `the camera refuses the sizes`() {
        CameraShadow.refuses = true
        open(Scene.all[0], false, 90, 90)
        val (width, height) = Scene.all[0].size(90)
        lost(phone.app.getString(R.string.camera_refused, width, height, width, height))
        phone.end()
    }

    private fun lost(why: Int) = lost(phone.app.getString(why))

    private fun lost(why: String) {
        phone.until("the loss") { phone.text(R.id.notice_text) == phone.app.getString(R.string.camera_lost, why) }
        phone.until("it to be closed") { CameraShadow.open.isEmpty() && ReaderShadow.open.isEmpty() }
        assertEquals(phone.app.getString(R.string.try_again), phone.text(R.id.notice_button))
        assertEquals(phone.app.getString(R.string.no_objects), phone.objects)
    }

    /** As the camera service calls the app. */
    private fun onCallback(call: (CameraDevice.StateCallback, CameraDevice) -> Unit) {
        fun <T> last(name: String): T? = ReflectionHelpers.getStaticField(ShadowCameraManager::class.java, name)
        val callback = last<CameraDevice.StateCallback>("lastCallback")!!
        val action = Runnable { call(callback, last<CameraDevice>("lastDevice")!!) }
        val handler = last<Handler>("lastCallbackHandler")
        if (handler != null) handler.post(action) else last<Executor>("lastCallbackExecutor")!!.execute(action)
    }
}
