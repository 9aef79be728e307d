package org.microyolo.core

import java.nio.ByteBuffer
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** A runtime that gives [kept], stored outputs of the raw head, in another order than the contract's. */
private class Replay(private val contract: Contract, private val kept: List<ByteArray>) : ModelRuntime {
    private val tensors = contract.outputs.map { it.tensor }
    val buffers = mutableListOf<Any>()
    var closed = 0
    var silent = false
    override val inputs = listOf(contract.input.tensor)
    override val outputs = tensors.reversed()

    override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
        buffers.add(input)
        buffers.addAll(results)
        assertEquals(inputs[0].size, input.remaining())
        for ((i, tensor) in tensors.withIndex()) {
            val to = results[tensors.size - 1 - i]
            for (j in 0 until tensor.size) to.put(j, if (silent) Byte.MIN_VALUE else kept[i][j])
        }
    }

    override fun close() {
        closed++
    }
}

class DetectorTest {
    private val case = Golden.cases("decode.json").first()
    private val expected = case["found"] as Map<*, *>
    private val model =
        fakeModel("cards.tflite", Golden.contract(HeadKind.RAW).replace("\"letterbox\"", "\"stretch\""))
    private val runtime = Replay(model.contract, case.outputs())
    private var clock = 0L
    private val detector = Detector(model, runtime) { clock.also { clock += 2_000_000 } }

    @Test
    fun `boxes come in pixels of the picture`() {
        val found = detector.detect(RgbImage(192, 32))
        assertEquals(expected.ints("classes"), found.detections.classes.toList())
        val model = expected.floats("boxes")
        for (i in 0 until found.detections.size) {
            val box = found.detections.box(i)
            val wanted = Box(model[4 * i] * 2, model[4 * i + 1] / 2, model[4 * i + 2] * 2, model[4 * i + 3] / 2)
            assertTrue("$wanted $box", wanted.iou(box) > 0.9999f)
        }
    }

    @Test
    fun `every step is timed`() = assertEquals(Times(2.0, 2.0, 2.0), detector.detect(RgbImage(4, 4)).times)

    @Test
    fun `thresholds`() {
        val usual = detector.detect(RgbImage(4, 4)).detections.copy()
        assertTrue(usual.scores.all { it > model.contract.nms.scoreThreshold })
        assertEquals(0, detector.detect(RgbImage(4, 4), scoreThreshold = 1f).detections.size)
        assertTrue("some overlap", overlaps(usual).any { it > 0 })
        assertTrue("none do", overlaps(detector.detect(RgbImage(4, 4), iouThreshold = 0f).detections).all { it == 0f })
    }

    private fun overlaps(found: Detections) = (0 until found.size).flatMap { i ->
        (0 until i).filter { found.classes[it] == found.classes[i] }.map { found.iou(it, found, i) }
    }

    @Test
    fun `buffers are made once`() {
        repeat(2) { detector.detect(RgbImage(9, 9)) }
        val (first, second) = runtime.buffers.chunked(7)
        for ((a, b) in first.zip(second)) assertSame(a, b)
    }

    @Test
    fun `pictures of any size, and nothing in them`() {
        runtime.silent = true
        for ((width, height) in listOf(1 to 1, 1 to 5000, 8000 to 6000)) {
            assertEquals(0, detector.detect(RgbImage(width, height), scoreThreshold = 0f).detections.size)
        }
    }

    @Test
    fun `a frame after close`() {
        detector.close()
        detector.close()
        assertEquals(1, runtime.closed)
        val error = assertThrows(IllegalStateException::class.java) { detector.detect(RgbImage(4, 4)) }
        assertEquals("cards.tflite: the detector is closed", error.message)
    }

    @Test
    fun `a runtime with other tensors`() {
        val foreign =
            object : ModelRuntime by runtime {
                override val outputs = runtime.outputs.drop(2)
            }
        assertMessage("cards.tflite: has 4 outputs, its contract says 6") { Detector(model, foreign) }
        assertEquals(1, runtime.closed)
    }

    @Test
    fun `one frame at a time, and none after close`() {
        val gate = FrameGate()
        assertTrue(gate.tryEnter())
        assertTrue(!gate.tryEnter())
        assertEquals(1, gate.dropped)
        assertTrue("still open", !gate.leave())
        assertTrue(gate.tryEnter())
        assertTrue("a frame is inside, who leaves frees", !gate.close())
        assertTrue(!gate.tryEnter())
        assertTrue(gate.leave())
        assertTrue(!gate.tryEnter())
        assertEquals("a closed gate drops nothing", 1, gate.dropped)
        assertTrue("nobody inside, who closes frees", FrameGate().close())
        assertThrows(IllegalStateException::class.java) { FrameGate().leave() }
    }
}
