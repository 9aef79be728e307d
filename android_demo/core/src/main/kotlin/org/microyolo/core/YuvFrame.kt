package org.microyolo.core

/** A plane of a YUV_420_888 frame: the sample at column x, row y is at y * [rowStride] + x * [pixelStride]. */
class Plane(val bytes: ByteArray, val rowStride: Int, val pixelStride: Int)

/** Turns camera frames (YCbCr 4:2:0, JFIF range) into upright RGB pictures. Keeps its picture, which the next call overwrites. */
class YuvConverter {
    private var result = RgbImage(1, 1)

    /** [width] x [height] samples of [luma], half as many of [blue] and [red], turned clockwise by [degrees]. */
    fun upright(width: Int, height: Int, luma: Plane, blue: Plane, red: Plane, degrees: Int): RgbImage {
        check(degrees % 90 == 0) { "rotation: must be a multiple of 90, got $degrees" }
        val quarter = Math.floorMod(degrees, 360) / 90
        val toWidth = if (quarter % 2 == 0) width else height
        val toHeight = if (quarter % 2 == 0) height else width
        if (result.width != toWidth || result.height != toHeight) result = RgbImage(toWidth, toHeight)
        val pixels = result.pixels
        // Where the pixel at 0, 0 goes, and how far apart neighbours of a row and of a column end up.
        val first = pick(quarter, 0, height - 1, width * height - 1, (width - 1) * height)
        val across = pick(quarter, 1, height, -1, -height)
        val down = pick(quarter, width, -1, -width, 1)
        for (y in 0 until height) {
            for (x in 0 until width) {
                val light = (luma.bytes[y * luma.rowStride + x * luma.pixelStride].toInt() and 255) shl SHIFT
                val cb = (blue.bytes[y / 2 * blue.rowStride + x / 2 * blue.pixelStride].toInt() and 255) - 128
                val cr = (red.bytes[y / 2 * red.rowStride + x / 2 * red.pixelStride].toInt() and 255) - 128
                val to = 3 * (first + x * across + y * down)
                pixels[to] = rounded(light + RED_CR * cr)
                pixels[to + 1] = rounded(light - GREEN_CB * cb - GREEN_CR * cr)
                pixels[to + 2] = rounded(light + BLUE_CB * cb)
            }
        }
        return result
    }

    private fun pick(quarter: Int, none: Int, one: Int, two: Int, three: Int) = when (quarter) {
        0 -> none
        1 -> one
        2 -> two
        else -> three
    }

    private fun rounded(value: Int): Byte = ((value + HALF) shr SHIFT).coerceIn(0, 255).toByte()

    private companion object {
        // ITU-R BT.601 in full range, as JFIF has it: 1.402, 0.344136, 0.714136 and 1.772 in 1 / 65536.
        const val SHIFT = 16
        const val HALF = 1 shl 15
        const val RED_CR = 91881
        const val GREEN_CB = 22554
        const val GREEN_CR = 46802
        const val BLUE_CB = 116130
    }
}
