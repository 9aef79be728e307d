package org.microyolo.core

import com.sun.management.ThreadMXBean
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** A frame's way from the camera's planes to marks on the screen takes no memory, so that nothing is ever collected. */
class AllocationsTest {
    private val threads = ManagementFactory.getThreadMXBean() as ThreadMXBean

    /** Gives the outputs of one of [cases] after the other. */
    private class Recorded(model: ModelFile, private val cases: List<List<ByteArray>>) : ModelRuntime {
        override val inputs = listOf(model.contract.input.tensor)
        override val outputs = model.contract.outputs.map { it.tensor }
        private var runs = 0

        override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
            val case = cases[runs++ % cases.size]
            for (i in case.indices) for (at in case[i].indices) results[i].put(at, case[i][at])
        }

        override fun close() = Unit
    }

    private val measure =
        object : TextMeasure {
            override val height = 10f

            override fun width(text: String) = 5f * text.length
        }

    private fun isFree(model: ModelFile, cases: List<List<ByteArray>>) {
        val detector = Detector(model, Recorded(model, cases))
        val converter = YuvConverter()
        val plane = Plane(ByteArray(96 * 64), 96, 1)
        val smoother = Smoother()
        val statistics = Statistics()
        val means = Times()
        val overlay = Overlay(measure)
        val toView = Affine.scale(2.0, 2.0)
        var marks = 0

        fun frame() {
            val image = converter.upright(96, 64, plane, plane, plane, 90)
            val found = detector.detect(image, 0.05f)
            val shown = smoother.smooth(found.detections, 0.05f)
            statistics.add(System.nanoTime(), found.times)
            statistics.means(means)
            overlay.place(shown, detector.model.contract.labels, toView, 1000, 1000)
            marks += overlay.size
        }
        // Every number of objects was found before.
        repeat(60) { frame() }
        val before = threads.getThreadAllocatedBytes(Thread.currentThread().id)
        repeat(60) { frame() }
        val bytes = threads.getThreadAllocatedBytes(Thread.currentThread().id) - before
        assertTrue("marks", marks > 0)
        assertEquals("bytes in 60 frames", 0L, bytes)
    }

    @Test
    fun `with the detections head`() {
        val model = fakeModel("d.tflite", Golden.contract(HeadKind.DETECTIONS))
        isFree(model, Golden.cases("suppressed.json").map { it.outputs() })
    }

    @Test
    fun `with the raw head`() {
        val model = fakeModel("r.tflite", Golden.contract(HeadKind.RAW))
        val cases = Golden.cases("decode.json").map { it.outputs() }
        val sizes = model.contract.outputs.map { it.tensor.run { size * dtype.bytes } }
        isFree(model, cases.filter { case -> case.map { it.size } == sizes })
    }
}
