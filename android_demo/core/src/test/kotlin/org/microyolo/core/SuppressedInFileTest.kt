package org.microyolo.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** The head that suppresses in the file. */
class SuppressedInFileTest {
    private val model = fakeModel("d.tflite", Golden.contract(HeadKind.DETECTIONS))

    /** A runtime that gives [stored], in another order than the contract's. */
    private fun runtime(stored: List<FloatArray>) = object : ModelRuntime {
        override val inputs = listOf(model.contract.input.tensor)
        override val outputs = model.contract.outputs.map { it.tensor }.reversed()

        override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
            for ((values, to) in stored.zip(results.reversed())) to.asFloatBuffer().put(values)
        }

        override fun close() = Unit
    }

    private fun floats(bytes: ByteArray) =
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().let { from ->
            FloatArray(from.remaining()).also(from::get)
        }

    @Test
    fun `outputs give what Python reads from them`() {
        val cases = Golden.cases("suppressed.json")
        assertEquals(6, cases.size)
        for ((i, case) in cases.withIndex()) {
            val detector = Detector(model, runtime(case.outputs().map(::floats)))
            val expected = case["found"] as Map<*, *>
            val found = detector.detect(RgbImage(192, 128), expected.float("score_threshold")).detections
            assertFound(expected, found, "case $i")
        }
        assertTrue("some find nothing", cases.any { (it["found"] as Map<*, *>).ints("classes").isEmpty() })
    }

    @Test
    fun `boxes are clipped, those without area and beyond the count are left out`() {
        val boxes = floatArrayOf(0.25f, 0f, 0.5f, 1.5f, 0f, 0.5f, 0f, 0.5f, 0f, 0f, 1f, 1f, 0f, 0f, 1f, 1f)
        val scores = floatArrayOf(0.9f, 0.8f, 0.7f, 0.6f)
        val classes = floatArrayOf(2f, 1f, 0f, 0f)
        val decoder = SuppressedInFile.decoder(model.contract)

        fun read(count: Float) = decoder.decode(listOf(boxes, classes, scores, floatArrayOf(count)), 0.5f, 0.6f)
        val found = read(3f)
        assertEquals(listOf(0f, 16f, 96f, 32f, 0f, 0f, 96f, 64f), found.boxes.toList())
        assertEquals(listOf(2, 0), found.classes.toList())
        assertEquals(listOf(0.9f, 0.7f), found.scores.toList())
        assertEquals("zero detections", 0, read(0f).size)
        scores[0] = Float.NaN
        assertEquals("a score that is not a number", 0, read(1f).size)
        assertEquals("a count that is not a number", 0, read(Float.NaN).size)
    }

    @Test
    fun `labels fewer than classes`() {
        val classes = FloatArray(20) { if (it == 1) 3f else 0f }
        val stored =
            listOf(FloatArray(80) { if (it % 4 < 2) 0f else 1f }, classes, FloatArray(20) { 0.9f }, floatArrayOf(2f))
        val detector = Detector(model, runtime(stored))
        assertMessage("d.tflite: finds class 3, its contract has 3 labels") { detector.detect(RgbImage(4, 4)) }
        classes[1] = -1f
        assertMessage("d.tflite: finds class -1, its contract has 3 labels") { detector.detect(RgbImage(4, 4)) }
        classes[1] = 2f
        assertEquals(2, detector.detect(RgbImage(4, 4)).detections.size)
    }

    @Test
    fun `pictures of any size, and nothing in them`() {
        val nothing = listOf(FloatArray(80), FloatArray(20), FloatArray(20), floatArrayOf(0f))
        val detector = Detector(model, runtime(nothing))
        for ((width, height) in listOf(1 to 1, 1 to 5000, 8000 to 6000)) {
            assertEquals(0, detector.detect(RgbImage(width, height), scoreThreshold = 0f).detections.size)
        }
    }

    @Test
    fun `a runtime with other tensors`() {
        val stored = runtime(listOf())
        val fewer =
            object : ModelRuntime by stored {
                override val outputs = stored.outputs.drop(1)
            }
        assertMessage("d.tflite: has 3 outputs, its contract says 4") { Detector(model, fewer) }
        val shorter =
            object : ModelRuntime by stored {
                override val outputs = stored.outputs.map { if (it.index == 2) it.copy(shape = listOf(1, 10)) else it }
            }
        assertMessage(
            "d.tflite: detection_classes is float32 [1, 10], its contract says float32 [1, 20]"
        ) { Detector(model, shorter) }
    }
}
