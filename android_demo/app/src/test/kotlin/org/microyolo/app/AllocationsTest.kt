package org.microyolo.app

import android.graphics.Bitmap
import android.graphics.Canvas
import android.util.Size
import android.view.View
import java.time.Duration
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.microyolo.core.Screen
import org.microyolo.desktop.Allocations
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowSystemClock
import org.robolectric.util.ReflectionHelpers

/** From a camera's frame to boxes on the screen the app makes no object: only the platform's own calls do. */
@RunWith(AppRunner::class)
@Config(sdk = [35])
class AllocationsTest {
    private val phone = Phone()
    private val scene = Scene.all[0]
    private var shown = 0

    private fun see(canvas: Canvas, frame: Frame) {
        val before = shown
        phone.frame(frame)
        phone.until("the boxes") { shown > before }
        phone.view<View>(R.id.overlay).draw(canvas)
        ShadowSystemClock.advanceBy(Duration.ofMillis(33))
    }

    @Test
    fun `60 frames`() {
        assumeTrue("the app's classes count", System.getProperty("counted") != null)
        val (width, height) = scene.size(90)
        phone.camera("0", false, 90, Size(width, height))
        phone.grant()
        phone.start()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
        val screen = ReflectionHelpers.getField<Session>(phone.activity, "session").screen
        val listener = screen.listener!!
        screen.listener = object : Screen.Listener by listener {
            override fun onOutcome() {
                listener.onOutcome()
                shown++
            }
        }
        val overlay = phone.view<View>(R.id.overlay)
        val canvas = Canvas(Bitmap.createBitmap(overlay.width, overlay.height, Bitmap.Config.ARGB_8888))
        val frames = List(70) { scene.frame(90) }
        for (frame in frames.take(10)) see(canvas, frame)
        val made = Allocations.during { for (frame in frames.drop(10)) see(canvas, frame) }
        // Twice a second the figures at the top are written anew.
        val written = made.filterKeys { it.startsWith("Stage.describe") }
        assertTrue("counted: $made", written.isNotEmpty())
        // Some lines make several objects for one text.
        val texts = written.values.min()
        assertTrue("written $written", texts <= 2 * 60 * 33 / 1000 + 1 && written.values.all { it % texts == 0 })
        assertEquals(emptyMap<String, Int>(), made - written.keys)
        phone.end()
    }
}
