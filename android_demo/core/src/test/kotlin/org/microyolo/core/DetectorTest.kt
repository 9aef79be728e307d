package org.microyolo.core

import java.nio.ByteBuffer
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** A runtime that gives the kept outputs of a photograph, in another order than the contract's. */
private class Replay(private val contract: Contract) : Runtime {
    private val kept = Golden.folder.resolve("photo_raw.bin").readBytes()
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
        var at = 0
        for ((i, tensor) in tensors.withIndex()) {
            val to = results[tensors.size - 1 - i]
            for (j in 0 until tensor.size) to.put(j, if (silent) Byte.MIN_VALUE else kept[at + j])
            at += tensor.size
        }
    }

    override fun close() {
        closed++
    }
}

class DetectorTest {
    private val model = ModelFile.open("cards.tflite", Golden.model.readBytes(), Golden.shippedContract())
    private val runtime = Replay(model.contract)
    private var clock = 0L
    private val detector = Detector(model, runtime) { clock.also { clock += 2_000_000 } }

    @Test
    fun `boxes come in pixels of the picture`() {
        val found = detector.detect(RgbImage(640, 160))
        val expected = Golden.cases("photo.json").first()
        assertEquals(expected.ints("classes"), found.detections.classes.toList())
        val box = found.detections.box(0)
        val model = expected.floats("boxes")
        assertEquals(model[0] * 2, box.x0, 1e-3f)
        assertEquals(model[3] / 2, box.y1, 1e-3f)
    }

    @Test
    fun `every step is timed`() = assertEquals(Times(2.0, 2.0, 2.0), detector.detect(RgbImage(4, 4)).times)

    @Test
    fun `thresholds`() {
        assertEquals(0, detector.detect(RgbImage(4, 4), scoreThreshold = 0.99f).detections.size)
        assertEquals(2, detector.detect(RgbImage(4, 4), scoreThreshold = 0.01f).detections.size)
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
            object : Runtime by runtime {
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
