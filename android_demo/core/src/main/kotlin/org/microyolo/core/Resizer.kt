package org.microyolo.core

import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/**
 * Lays pictures into an input of [toWidth] x [toHeight], to the bit as tflite/image.py does: each axis that shrinks to
 * half or less is first averaged in blocks of floor(factor) pixels, then bilinear with half-pixel centres, clamped at the
 * edges, rounded down. By the rule mediapipe nothing is averaged, and pixel i is sampled at i times the factor, to the
 * nearest 1/32 pixel, rounded half up. Keeps its buffers, so one is not for several threads at once.
 */
class Resizer(
    private val toWidth: Int,
    private val toHeight: Int,
    private val rule: ResizeRule,
    private val grey: Int = LETTERBOX_FILL
) {
    private val sampled = rule == ResizeRule.MEDIAPIPE
    private val rounding = if (sampled) 0.5 else 0.0
    private val result = RgbImage(toWidth, toHeight)
    private var reduced = RgbImage(1, 1)
    private var last: Pair<Fit, RgbImage>? = null
    private var columns = Taps(0, sampled)
    private var rows = Taps(0, sampled)

    /** How [image] lies in the input, and the input's pixels, which the next call overwrites. */
    fun resize(image: RgbImage): Pair<Fit, RgbImage> {
        val asIs = image.width == toWidth && image.height == toHeight
        val pixels = if (asIs) image else result
        val before = last?.takeIf { (fit, to) ->
            to === pixels && fit.width == image.width && fit.height == image.height
        }
        val placed = before ?: (Fit.of(image.width, image.height, toWidth, toHeight, rule) to pixels)
        last = placed
        if (!asIs) fill(placed.first, image)
        return placed
    }

    private fun fill(fit: Fit, image: RgbImage) {
        val stepX = if (sampled) 1 else max(image.width / fit.innerWidth, 1)
        val stepY = if (sampled) 1 else max(image.height / fit.innerHeight, 1)
        val source = if (stepX > 1 || stepY > 1) reduce(image, stepX, stepY) else image
        if (fit.innerWidth < toWidth || fit.innerHeight < toHeight) result.pixels.fill(grey.toByte())
        if (columns.size != fit.innerWidth) columns = Taps(fit.innerWidth, sampled)
        if (rows.size != fit.innerHeight) rows = Taps(fit.innerHeight, sampled)
        columns.place(1 / fit.scaleX / stepX, source.width)
        rows.place(1 / fit.scaleY / stepY, source.height)
        for (y in 0 until fit.innerHeight) interpolateRow(source, fit, y)
    }

    private fun interpolateRow(source: RgbImage, fit: Fit, y: Int) {
        val from = source.pixels
        val to = result.pixels
        val upper = rows.first[y] * source.width * 3
        val lower = rows.second[y] * source.width * 3
        val down = rows.weight[y]
        var at = ((y + fit.padY) * toWidth + fit.padX) * 3
        for (x in 0 until fit.innerWidth) {
            val left = columns.first[x] * 3
            val right = columns.second[x] * 3
            val across = columns.weight[x]
            for (channel in 0 until 3) {
                val above = mix(from[upper + left + channel], from[upper + right + channel], across)
                val below = mix(from[lower + left + channel], from[lower + right + channel], across)
                to[at++] = (above + (below - above) * down + rounding).toInt().toByte()
            }
        }
    }

    private fun mix(a: Byte, b: Byte, weight: Double): Double {
        val from = a.toInt() and 255
        return from + ((b.toInt() and 255) - from) * weight
    }

    private fun reduce(image: RgbImage, stepX: Int, stepY: Int): RgbImage {
        val width = (image.width + stepX - 1) / stepX
        val height = (image.height + stepY - 1) / stepY
        val bytes = RgbImage.bytesOf(width, height)
        val pixels = if (reduced.pixels.size >= bytes) reduced.pixels else ByteArray(bytes)
        if (reduced.width != width || reduced.height != height) reduced = RgbImage(width, height, pixels)
        var to = 0
        for (y in 0 until height) {
            for (x in 0 until width) {
                val left = x * stepX
                val top = y * stepY
                average(image, left, top, min(stepX, image.width - left), min(stepY, image.height - top), to)
                to += 3
            }
        }
        return reduced
    }

    private fun average(image: RgbImage, left: Int, top: Int, width: Int, height: Int, to: Int) {
        val from = image.pixels
        var red = 0L
        var green = 0L
        var blue = 0L
        for (y in top until top + height) {
            var at = (y * image.width + left) * 3
            for (x in 0 until width) {
                red += from[at++].toInt() and 255
                green += from[at++].toInt() and 255
                blue += from[at++].toInt() and 255
            }
        }
        val count = width * height
        // The reference divides by way of a rounded 32-bit reciprocal; so its results are met to the bit.
        val reciprocal = (RECIPROCAL_OF / (count.toLong() * 256).toFloat()).toLong()
        val half = count / 2
        reduced.pixels[to] = ((red + half) * reciprocal ushr 24).toByte()
        reduced.pixels[to + 1] = ((green + half) * reciprocal ushr 24).toByte()
        reduced.pixels[to + 2] = ((blue + half) * reciprocal ushr 24).toByte()
    }

    /** For each output position the two input positions it lies between, and how far towards the second. */
    private class Taps(val size: Int, private val inSteps: Boolean) {
        val first = IntArray(size)
        val second = IntArray(size)
        val weight = DoubleArray(size)
        private var step = 0.0
        private var length = 0

        fun place(step: Double, length: Int) {
            if (step == this.step && length == this.length) return
            this.step = step
            this.length = length
            for (i in 0 until size) {
                // Whole numbers of 1/32 pixel: sums of such weights are exact.
                val at = if (inSteps) round(STEPS * length * i / size) / STEPS else step * (i + 0.5) - 0.5
                val below = floor(at).toInt()
                first[i] = below.coerceIn(0, length - 1)
                second[i] = (below + 1).coerceIn(0, length - 1)
                weight[i] = at - below
            }
        }
    }

    private companion object {
        const val STEPS = 32.0
        const val RECIPROCAL_OF = 4294967296f
    }
}
