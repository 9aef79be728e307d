package org.microyolo.app

import android.widget.Spinner
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** Models that cannot be used: the user reads which and why, sees no boxes, and can choose another. */
@RunWith(AppRunner::class)
class ModelsTest {
    private val phone = Phone()
    private val model by lazy { phone.app.shipped("models/cards_int8.tflite") }
    private val contract by lazy { phone.app.shipped("models/cards_int8.json").decodeToString() }

    private fun refused(said: String, model: ByteArray, contract: String?) {
        phone.app.files["models/a_bad.tflite"] = model
        contract?.let { phone.app.files["models/a_bad.json"] = it.toByteArray() }
        phone.settings.model = "models/a_bad.tflite"
        phone.start().choose(Scene.all[0].uri(phone))
        phone.until(said) { said in phone.text(R.id.status) }
        assertTrue(phone.text(R.id.status), "a_bad" in phone.text(R.id.status))
        assertEquals(phone.app.getString(R.string.no_objects), phone.objects)
        assertEquals("never given to the runtime", 0, phone.app.runtimes.opened.get())
        val spinner = phone.view<Spinner>(R.id.model)
        spinner.setSelection(List(spinner.count) { spinner.getItemAtPosition(it) }.indexOf("cards_int8.tflite"))
        phone.until("objects") { phone.objects.startsWith("${Scene.all[0].photo.size} object") }
        phone.end()
    }

    @Test
    fun corrupt() = refused("SHA-256 differs", model.clone().also { it[it.size / 2]++ }, contract)

    @Test
    fun truncated() = refused("SHA-256 differs", model.copyOf(model.size / 2), contract)

    @Test
    fun `no model at all`() = refused("not a .tflite", "<html>".toByteArray(), contract)

    @Test
    fun `of a newer contract`() = refused("update the app", model, contract.replace("micro-yolo/1", "micro-yolo/2"))

    @Test
    fun `of a coding that is not known`() =
        refused("update the app", model, contract.replace("\"detections/1\"", "\"detections/2\""))
}
