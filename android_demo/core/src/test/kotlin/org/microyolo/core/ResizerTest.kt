package org.microyolo.core

import java.security.MessageDigest
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test

class ResizerTest {
    @Test
    fun `inputs are Python's to the bit`() {
        val cases = Golden.cases("resize.json")
        assertTrue(cases.size > 30)
        for ((_, group) in cases.groupBy { it.int("seed") }) {
            val image = group.first().let { Golden.picture(it.int("width"), it.int("height"), it.int("seed")) }
            for (case in group) assertSameInput(case, image)
        }
    }

    private fun assertSameInput(case: Map<String, Any?>, image: RgbImage) {
        val what = "${image.width}x${image.height} ${case["rule"]} ${case["dtype"]}"
        val tensor =
            TensorSpec(
                "image",
                0,
                listOf(1, case.int("to_height"), case.int("to_width"), 3),
                DType.entries.first { it.label == case["dtype"] },
                case.float("scale"),
                case.int("zero_point")
            )
        val rule = ResizeRule.entries.first { it.label == case["rule"] }
        val (fit, pixels) = Resizer(case.int("to_width"), case.int("to_height"), rule).resize(image)
        val middle = 3 * (96 * 320 + 160)
        assertEquals(what, case.ints("middle"), List(3) { pixels.pixels[middle + it].toInt() and 255 })
        val buffer = bufferFor(tensor)
        InputWriter(tensor).write(pixels, buffer)
        val bytes = ByteArray(buffer.remaining()).also(buffer::get)
        val digest = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
        assertEquals(what, case.text("sha256"), digest)
        val boxes = case.floats("boxes").also(fit::boxesToImage)
        assertArrayEquals(what, case.floats("boxes_in_image"), boxes, 1e-3f)
    }

    @Test
    fun `one resizer serves pictures of all sizes`() {
        for (rule in ResizeRule.entries) {
            val resizer = Resizer(33, 21, rule)
            for (size in listOf(100 to 40, 7 to 300, 66 to 42, 1 to 1, 100 to 40)) {
                val image = Golden.picture(size.first, size.second, 3)
                val fresh = Resizer(33, 21, rule).resize(image).second
                assertArrayEquals("$rule $size", fresh.pixels, resizer.resize(image).second.pixels)
            }
        }
    }

    @Test
    fun `a picture of the right size stays as it is`() {
        val image = Golden.picture(33, 21, 0)
        assertSame(image, Resizer(33, 21, ResizeRule.STRETCH).resize(image).second)
    }

    @Test
    fun `sizes that are not positive`() {
        assertMessage("resize: sizes must be positive, got 0x5 -> 3x3") { Fit.of(0, 5, 3, 3, ResizeRule.STRETCH) }
        assertMessage("picture: must have 1 to 715827879 pixels, got 0x5") { RgbImage(0, 5) }
        assertMessage("picture: must have 1 to 715827879 pixels, got 50000x50000") { RgbImage(50000, 50000) }
        assertMessage("picture: 4x4 needs 48 bytes, got 3") { RgbImage(4, 4, ByteArray(3)) }
    }

    @Test
    fun `huge pictures are shrunk while decoding, small ones are not`() {
        assertEquals(1, RgbImage.sampleSize(4000, 3000, 12_000_000, 4096))
        assertEquals(2, RgbImage.sampleSize(8000, 6000, 12_000_000, 4096))
        assertEquals(1, RgbImage.sampleSize(1, 1, 12_000_000, 4096))
        assertEquals(8, RgbImage.sampleSize(65500, 10000, 12_000_000, 65500))
        assertEquals("what a GPU draws is limited by the side", 16, RgbImage.sampleSize(65500, 1, 12_000_000, 4096))
    }

    @Test
    fun `colours lose their transparency over black`() {
        val image = RgbImage(2, 1).apply { setRow(0, intArrayOf(0xFF102030.toInt(), 0x80FF0000.toInt())) }
        assertEquals(listOf(16, 32, 48, 128, 0, 0), image.pixels.map { it.toInt() and 255 })
    }
}
