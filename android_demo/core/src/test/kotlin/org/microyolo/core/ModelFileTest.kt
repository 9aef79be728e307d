package org.microyolo.core

import java.util.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class ModelFileTest {
    private val bytes = Golden.model.readBytes()
    private val contract = Golden.shippedContract()
    private val replaced =
        "models/a.tflite: is not the file its contract was written for (SHA-256 differs): damaged, truncated or " +
            "replaced; `python -m pipeline.convert --overwrite` makes both anew"

    private fun open(data: ByteArray = bytes, text: String? = contract) = ModelFile.open("models/a.tflite", data, text)

    @Test
    fun `the shipped model`() {
        val model = open()
        assertEquals("a", model.name)
        assertEquals(bytes.size, model.bytes)
    }

    @Test
    fun `the contract is missing`() = assertMessage(
        "models/a.json: the contract of a.tflite is missing; a .tflite of ours has it in it, and a copy beside it; " +
            "`python -m pipeline.convert` writes both"
    ) { open("----TFL3".toByteArray(), null) }

    @Test
    fun `the contract in the file is enough`() {
        val inside = open(text = null)
        assertEquals(bytes.size, inside.bytes)
        assertEquals(open().contract.labels, inside.contract.labels)
        assertEquals(open().contract.outputs, inside.contract.outputs)
    }

    @Test
    fun `a file with its contract in it that is truncated or damaged`() {
        val random = Random(0)
        val missing = "models/a.json: the contract of a.tflite is missing"
        val unreadable = "models/a.tflite: the files in it cannot be read"
        assertTrue(refusal(bytes.copyOf(bytes.size - 1)).startsWith(missing))
        assertEquals(replaced, refusal(bytes.copyOf().also { it[it.size / 2]++ }))
        val seen = mutableSetOf<String>()
        repeat(300) {
            // The zip is at the end.
            val damaged = bytes.copyOf().also { it[it.size - 1 - random.nextInt(3000)] = random.nextInt().toByte() }
            val said = refusal(damaged)
            seen += listOf("accepted", missing, unreadable, "models/a.tflite: ").first { said.startsWith(it) }
        }
        assertTrue("$seen", unreadable in seen)
    }

    private fun refusal(data: ByteArray) = try {
        open(data, null).let { "accepted" }
    } catch (error: ModelException) {
        error.message.orEmpty()
    }

    @Test
    fun `the contract is damaged`() =
        assertMessage("models/a.json: must be JSON, got the text ends in the middle at character 1") {
            open(text = "{")
        }

    @Test
    fun `the contract of another model`() = assertMessage(replaced) {
        open(text = contract.replace(Regex("\"model_sha256\": \"."), "\"model_sha256\": \"x"))
    }

    @Test
    fun `the file is empty, foreign, truncated or damaged`() {
        assertMessage("models/a.tflite: the file is empty") { open(ByteArray(0)) }
        assertMessage("models/a.tflite: not a .tflite") { open(bytes.copyOf(6)) }
        assertMessage("models/a.tflite: not a .tflite") { open("a photograph, say".toByteArray()) }
        assertMessage(replaced) { open(bytes.copyOf(bytes.size / 2)) }
        assertMessage(replaced) { open(bytes.copyOf().also { it[it.size / 2]++ }) }
    }

    @Test
    fun `tensors other than the contract's`() {
        val model = open()
        val input = model.contract.input.tensor
        val outputs = model.contract.outputs.map { it.tensor }
        model.compare(listOf(input), outputs.reversed())
        assertMessage("models/a.tflite: must have one input, got 2") { model.compare(listOf(input, input), outputs) }
        assertMessage("models/a.tflite: has 3 outputs, its contract says 4") {
            model.compare(listOf(input), outputs.drop(1))
        }
        assertMessage("models/a.tflite: has no output 'detection_boxes', which its contract names") {
            model.compare(listOf(input), listOf(outputs[0].copy(index = 9)) + outputs.drop(1))
        }
        assertMessage("models/a.tflite: image is int8 [1, 320, 320, 3], its contract says uint8 [1, 320, 320, 3]") {
            model.compare(listOf(input.copy(dtype = DType.INT8)), outputs)
        }
        assertMessage("models/a.tflite: image has scale 0.5 and zero point 0, its contract says 1.0 and 0") {
            model.compare(listOf(input.copy(scale = 0.5f)), outputs)
        }
    }
}
