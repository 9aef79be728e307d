package org.microyolo.core

import kotlin.math.max

/** Pixels as red, green, blue bytes, row by row; [pixels] may be longer than the picture, to be used again. */
class RgbImage(val width: Int, val height: Int, val pixels: ByteArray = ByteArray(bytesOf(width, height))) {
    init {
        if (pixels.size < bytesOf(width, height)) {
            fail("picture: ${width}x$height needs ${bytesOf(width, height)} bytes, got ${pixels.size}")
        }
    }

    /** Row [y] becomes the colours in [argb] (0xAARRGGBB), as Android and Java hold them; alpha is laid over black. */
    fun setRow(y: Int, argb: IntArray) {
        var to = y * width * 3
        for (x in 0 until width) {
            val colour = argb[x]
            val alpha = colour ushr 24
            for (shift in intArrayOf(16, 8, 0)) {
                val value = colour shr shift and 255
                pixels[to++] = (if (alpha == 255) value else (value * alpha + 127) / 255).toByte()
            }
        }
    }

    companion object {
        /** Bytes that a picture takes; [ModelException] for sizes that no array can hold. */
        fun bytesOf(width: Int, height: Int): Int {
            val bytes = width.toLong() * height * 3
            if (width < 1 || height < 1 || bytes > Int.MAX_VALUE - 8) {
                fail("picture: must have 1 to ${(Int.MAX_VALUE - 8) / 3} pixels, got ${width}x$height")
            }
            return bytes.toInt()
        }

        /** By which power of two to shrink a picture while decoding to at most [maxPixels], [maxSide] at its longer side. */
        fun sampleSize(width: Int, height: Int, maxPixels: Int, maxSide: Int): Int {
            fun fits(sample: Int): Boolean {
                val (across, down) = max(width / sample, 1) to max(height / sample, 1)
                return across.toLong() * down <= maxPixels && max(across, down) <= maxSide
            }
            return generateSequence(1) { it * 2 }.first(::fits)
        }
    }
}
