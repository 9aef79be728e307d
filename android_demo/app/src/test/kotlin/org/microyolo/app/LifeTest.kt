package org.microyolo.app

import android.content.ComponentCallbacks2
import android.util.Size
import java.util.concurrent.CountDownLatch
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Shadows.shadowOf

/** Rotation, background, memory and the end of the process, with the camera on. */
@RunWith(AppRunner::class)
class LifeTest {
    private val phone = Phone()
    private val scene = Scene.all[0]
    private val runtimes get() = phone.app.runtimes

    private fun open() {
        val (width, height) = scene.size(90)
        phone.camera("0", false, 90, Size(width, height))
        phone.grant()
        phone.start()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
    }

    private fun see() {
        phone.frame(scene.frame(90))
        phone.until("objects") { phone.objects.startsWith("${scene.frame.size} object") }
    }

    @Test
    fun `a rotation keeps model and thread, also in the middle of a frame`() {
        open()
        val thread = inference()
        val hold = CountDownLatch(1)
        runtimes.hold = hold
        phone.frame(scene.frame(90))
        phone.turn("w891dp-h411dp-land")
        hold.countDown()
        phone.turn("w411dp-h891dp-port")
        runtimes.hold = null
        phone.until("one camera") { CameraShadow.open.size == 1 && ReaderShadow.open.size == 1 }
        assertEquals(thread, inference())
        assertEquals(listOf(1, 0), runtimes.run { listOf(opened.get(), closed.get()) })
        see()
        phone.end()
    }

    private fun inference() = Thread.getAllStackTraces().keys.filter { it.name == "inference" }

    @Test
    fun `in the background the camera is others', and comes back`() {
        open()
        see()
        phone.pause()
        assertTrue("closed", CameraShadow.open.isEmpty() && ReaderShadow.open.isEmpty())
        phone.stop()
        phone.resume()
        phone.until("the camera") { CaptureShadow.streaming.get() == 2 && ReaderShadow.open.size == 1 }
        see()
        assertEquals(1, runtimes.opened.get())
        phone.end()
    }

    @Test
    fun `the permission taken away in the background`() {
        open()
        see()
        phone.pause()
        phone.stop()
        phone.deny()
        phone.mayAsk(false)
        phone.resume()
        // It may ask once, as after its start.
        shadowOf(phone.activity).lastRequestedPermission?.let {
            phone.activity.onRequestPermissionsResult(it.requestCode, it.requestedPermissions, intArrayOf(-1))
        }
        phone.until("the reason") { phone.text(R.id.notice_text) == phone.app.getString(R.string.camera_denied) }
        assertEquals(phone.app.getString(R.string.no_objects), phone.objects)
        phone.end()
    }

    @Test
    fun `low on memory in the background it gives the model back, and loads it when it is looked at`() {
        open()
        see()
        @Suppress("DEPRECATION")
        phone.activity.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL)
        see()
        phone.pause()
        phone.stop()
        @Suppress("DEPRECATION")
        phone.activity.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_COMPLETE)
        phone.until("the model to be closed") { runtimes.closed.get() == 1 }
        phone.resume()
        phone.until("the model") { runtimes.opened.get() == 2 && phone.text(R.id.status).isEmpty() }
        see()
        phone.end()
    }

    @Test
    fun `the process dies and comes back to the camera`() {
        open()
        see()
        phone.die()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
        see()
        phone.end()
    }

    @Test
    fun `leaving in the middle of loading and of a frame leaves nothing`() {
        val (width, height) = scene.size(90)
        phone.camera("0", false, 90, Size(width, height))
        phone.grant()
        phone.start()
        phone.end()
        phone.start()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
        val hold = CountDownLatch(1)
        runtimes.hold = hold
        val frame = scene.frame(90)
        phone.frame(frame)
        phone.until("the frame to be taken") { frame.closed }
        hold.countDown()
        phone.end()
    }
}
