package org.microyolo.core

import kotlin.math.min

/**
 * Boxes that a decoder found, in an input of [width] x [height], and their suppression; the mirror of tflite/decode.py.
 * Every coding of the raw head needs it. Keeps its buffers, so one is not for several threads at once.
 */
internal class Candidates(
    private val width: Int,
    private val height: Int,
    private val maxDetections: Int,
    private val preNms: Int
) {
    private var count = 0
    private var boxes = FloatArray(0)
    private var scores = FloatArray(0)
    private var classes = IntArray(0)
    private var order = LongArray(0)
    private val kept = IntArray(maxDetections)
    private val results = Results()

    fun clear() {
        count = 0
    }

    /** A box, which is clipped to the input. */
    fun add(x0: Double, y0: Double, x1: Double, y1: Double, score: Float, category: Int) {
        if (count == classes.size) grow()
        val at = 4 * count
        boxes[at] = x0.toFloat().coerceIn(0f, width.toFloat())
        boxes[at + 1] = y0.toFloat().coerceIn(0f, height.toFloat())
        boxes[at + 2] = x1.toFloat().coerceIn(0f, width.toFloat())
        boxes[at + 3] = y1.toFloat().coerceIn(0f, height.toFloat())
        scores[count] = score
        classes[count] = category
        order[count] = (score.toRawBits().inv().toLong() shl 32) or count.toLong()
        count++
    }

    /**
     * The best of those that were added, without those that overlap a better one of their class by more. Until the next
     * call.
     */
    fun suppress(iouThreshold: Float): Detections {
        // Sorted as integers: high score first, among equal ones in the order they were added.
        order.sort(0, count)
        var found = 0
        for (rank in 0 until min(count, preNms)) {
            if (found == maxDetections) break
            val candidate = order[rank].toInt()
            if (isSolid(candidate) && !isTaken(candidate, found, iouThreshold)) kept[found++] = candidate
        }
        val result = results.of(found)
        for (i in 0 until found) {
            boxes.copyInto(result.boxes, 4 * i, 4 * kept[i], 4 * kept[i] + 4)
            result.scores[i] = scores[kept[i]]
            result.classes[i] = classes[kept[i]]
        }
        return result
    }

    /** Whether one of the first [found] of the [kept] stands for [candidate] too. */
    private fun isTaken(candidate: Int, found: Int, iouThreshold: Float): Boolean {
        for (rank in 0 until found) if (overlaps(kept[rank], candidate, iouThreshold)) return true
        return false
    }

    private fun isSolid(i: Int) = boxes[4 * i + 2] - boxes[4 * i] > 0 && boxes[4 * i + 3] - boxes[4 * i + 1] > 0

    private fun overlaps(a: Int, b: Int, iouThreshold: Float) =
        classes[a] == classes[b] && overlap(boxes, 4 * a, boxes, 4 * b) > iouThreshold

    private fun grow() {
        val size = maxOf(64, 2 * count)
        boxes = boxes.copyOf(4 * size)
        scores = scores.copyOf(size)
        classes = classes.copyOf(size)
        order = order.copyOf(size)
    }
}
