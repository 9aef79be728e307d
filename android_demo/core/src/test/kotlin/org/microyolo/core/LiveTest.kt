package org.microyolo.core

import kotlin.math.abs
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test

class LiveTest {
    private fun one(x: Float, score: Float = 0.9f, category: Int = 0) =
        Detections(floatArrayOf(x, 0f, x + 10f, 10f), floatArrayOf(score), intArrayOf(category))

    @Test
    fun `camera frames become upright pictures`() {
        val golden = Golden.values("yuv.json")
        val converter = YuvConverter()
        for ((degrees, expected) in golden["rgb"] as Map<*, *>) {
            for (stride in listOf(1, 2)) {
                val image =
                    converter.upright(
                        golden.int("width"),
                        golden.int("height"),
                        plane(golden.ints("luma"), 8, 1),
                        plane(golden.ints("blue"), 4, stride),
                        plane(golden.ints("red"), 4, stride),
                        (degrees as String).toInt()
                    )
                for ((i, value) in (expected as List<*>).withIndex()) {
                    val off = abs((image.pixels[i].toInt() and 255) - value as Double)
                    assertTrue("$degrees degrees, value $i off by $off", off < 0.51)
                }
            }
        }
    }

    /** Samples in rows of [width], [pixelStride] bytes apart, with room after each row as cameras leave it. */
    private fun plane(samples: List<Int>, width: Int, pixelStride: Int): Plane {
        val rowStride = width * pixelStride + 5
        val bytes = ByteArray(rowStride * (samples.size / width))
        for ((i, sample) in samples.withIndex()) {
            bytes[i / width * rowStride + i % width * pixelStride] =
                sample.toByte()
        }
        return Plane(bytes, rowStride, pixelStride)
    }

    @Test
    fun `pictures of a camera use one array`() {
        val converter = YuvConverter()
        val plane = Plane(ByteArray(64), 8, 1)
        val first = converter.upright(8, 6, plane, plane, plane, 90)
        assertSame(first, converter.upright(8, 6, plane, plane, plane, 270))
        assertEquals(6 to 8, first.width to first.height)
    }

    @Test
    fun `a box moves part of the way, a new one shows at once`() {
        val smoother = Smoother(share = 0.5f)
        assertEquals(0f, smoother.smooth(one(0f), 0.5f).box(0).x0)
        assertEquals(1f, smoother.smooth(one(2f), 0.5f).box(0).x0)
        assertEquals(50f, smoother.smooth(one(50f), 0.5f).box(0).x0)
    }

    @Test
    fun `a missed box stays for two frames, and not below the threshold`() {
        val smoother = Smoother()
        smoother.smooth(one(0f), 0.5f)
        assertEquals(1, smoother.smooth(Detections.NONE, 0.5f).size)
        assertEquals(1, smoother.smooth(Detections.NONE, 0.5f).size)
        assertEquals(0, smoother.smooth(Detections.NONE, 0.5f).size)
        smoother.smooth(one(0f), 0.5f)
        assertEquals(0, smoother.smooth(Detections.NONE, 0.95f).size)
        smoother.smooth(one(0f), 0.5f)
        smoother.reset()
        assertEquals(0, smoother.smooth(Detections.NONE, 0.5f).size)
    }

    @Test
    fun `classes are not mixed up and the best comes first`() {
        val smoother = Smoother()
        smoother.smooth(one(0f, score = 0.6f), 0.5f)
        val shown = smoother.smooth(one(1f, score = 0.9f, category = 1), 0.5f)
        assertEquals(listOf(1, 0), shown.classes.toList())
        assertEquals(1f, shown.box(0).x0)
    }

    private fun means(statistics: Statistics) = Times().also(statistics::means)

    @Test
    fun `frame rate and times are of the last frames`() {
        val statistics = Statistics(window = 3)
        assertEquals(0.0, statistics.framesPerSecond, 0.0)
        assertEquals(Times(0.0, 0.0, 0.0), means(statistics))
        for (i in 0..9) statistics.add(i * 100_000_000L, Times(i.toDouble(), 1.0, 2.0))
        assertEquals(10.0, statistics.framesPerSecond, 1e-9)
        assertEquals(Times(8.0, 1.0, 2.0), means(statistics))
        assertEquals(11.0, means(statistics).total, 1e-9)
        statistics.reset()
        assertEquals(0.0, statistics.framesPerSecond, 0.0)
    }
}
