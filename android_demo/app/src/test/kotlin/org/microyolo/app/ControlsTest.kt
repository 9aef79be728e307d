package org.microyolo.app

import android.os.Bundle
import android.view.accessibility.AccessibilityNodeInfo
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.Switch
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.microyolo.core.ModelRuntime
import org.microyolo.desktop.DesktopRuntime

/** The panel, over a photo: what it changes is seen at once and kept. */
@RunWith(AppRunner::class)
class ControlsTest {
    private val phone = Phone()
    private val scene = Scene.all[0]
    private val runtimes get() = phone.app.runtimes

    private fun open() {
        phone.start().choose(scene.uri(phone))
        shows(scene.photo.size)
    }

    private fun shows(count: Int) = phone.until("$count objects") {
        phone.objects.run { if (count == 0) this == phone.app.getString(R.string.no_objects) else startsWith("$count object") }
    }

    private fun choose(id: Int, position: Int) {
        phone.view<Spinner>(id).setSelection(position)
        phone.settle()
    }

    private fun score(percent: Int) {
        val value = Bundle().apply {
            putFloat(AccessibilityNodeInfo.ACTION_ARGUMENT_PROGRESS_VALUE, percent.toFloat())
        }
        val action = AccessibilityNodeInfo.AccessibilityAction.ACTION_SET_PROGRESS.id
        assertTrue("moved", phone.view<SeekBar>(R.id.threshold).performAccessibilityAction(action, value))
        phone.settle()
    }

    @Test
    fun `the score`() {
        open()
        val best = scene.photo.maxOf { it.score }
        score((best * 100).toInt())
        shows(scene.photo.count { it.score > (best * 100).toInt() / 100f })
        score(99)
        shows(scene.photo.count { it.score > 0.99f })
        assertEquals(phone.app.getString(R.string.threshold, 99), phone.text(R.id.threshold_text))
        assertEquals(99, phone.settings.threshold)
        phone.die()
        assertEquals(99, phone.view<SeekBar>(R.id.threshold).progress)
        phone.end()
    }

    @Test
    fun `the threads`() {
        open()
        val entries = phone.view<Spinner>(R.id.threads).run { List(count) { getItemAtPosition(it).toString().toInt() } }
        assertEquals(1, entries.first())
        val now = phone.view<Spinner>(R.id.threads).selectedItemPosition
        val other = entries.indices.firstOrNull { it != now } ?: return phone.end()
        choose(R.id.threads, other)
        phone.until("the model anew") { runtimes.threads.size == 2 }
        assertEquals(listOf(entries[now], entries[other]), runtimes.threads.toList())
        shows(scene.photo.size)
        assertEquals(entries[other], phone.settings.threads)
        phone.until("the first to be closed") { runtimes.closed.get() == 1 }
        phone.end()
    }

    @Test
    fun `another model`() {
        for (ending in listOf("tflite", "json")) {
            phone.app.files["models/other_int8.$ending"] = phone.app.shipped("models/cards_int8.$ending")
        }
        open()
        val models = phone.view<Spinner>(R.id.model)
        val names = List(models.count) { models.getItemAtPosition(it) }
        assertEquals(listOf("cards_int8.tflite", "other_int8.tflite"), names)
        choose(R.id.model, 1)
        phone.until("the other model") { "other_int8" in phone.text(R.id.statistics) }
        shows(scene.photo.size)
        assertEquals("models/other_int8.tflite", phone.settings.model)
        phone.until("the first to be closed") { runtimes.closed.get() == 1 }
        phone.end()
    }

    private fun refuses(why: String, gpu: ((ByteArray) -> ModelRuntime)?) {
        open()
        runtimes.onGpu = gpu
        val switch = phone.view<Switch>(R.id.gpu)
        switch.performClick()
        val said = phone.app.getString(R.string.gpu_fallback, why)
        phone.until(said) { phone.text(R.id.status) == said }
        shows(scene.photo.size)
        assertTrue("CPU", "CPU" in phone.text(R.id.statistics))
        assertTrue("still asked for", switch.isChecked && phone.settings.gpu)
        // The way back needs no GPU.
        switch.performClick()
        phone.until("no notice") { phone.text(R.id.status).isEmpty() }
        shows(scene.photo.size)
        phone.end()
    }

    @Test
    fun `a GPU that is not known`() = refuses(phone.app.getString(R.string.gpu_unknown), null)

    @Test
    fun `a GPU that refuses the model`() =
        refuses("no such operator") { throw IllegalArgumentException("no such operator\nmore") }

    @Test
    fun `a GPU whose library is missing`() = refuses("no library") { throw UnsatisfiedLinkError("no library") }

    @Test
    fun `a GPU that takes the model and cannot run it`() =
        refuses("out of shaders") { runtimes.counted(BrokenRuntime(DesktopRuntime(it))) }

    @Test
    fun `a GPU that works`() {
        open()
        runtimes.onGpu = { runtimes.counted(DesktopRuntime(it)) }
        phone.view<Switch>(R.id.gpu).performClick()
        phone.until("the GPU") { "GPU" in phone.text(R.id.statistics) }
        assertEquals(phone.app.getString(R.string.gpu_partly), phone.text(R.id.status))
        shows(scene.photo.size)
        phone.end()
    }

    @Test
    fun `the camera's picture fills the screen or is shown whole`() {
        open()
        val before = phone.settings.fill
        phone.view<Switch>(R.id.fill).performClick()
        assertNotEquals(before, phone.settings.fill)
        // A photo is always shown whole.
        val wanted = scene.onScreen(scene.photo, phone.view(R.id.overlay), fill = false, mirrored = false)
        assertShown("photo", wanted, phone)
        phone.end()
    }
}
