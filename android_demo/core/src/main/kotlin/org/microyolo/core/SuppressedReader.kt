package org.microyolo.core

/**
 * Reads the detections head, whose file suppresses by itself: boxes (top, left, bottom, right in 0..1), classes, scores
 * and count, best first. The mirror of tflite/detector.py.
 */
class SuppressedReader(private val width: Int, private val height: Int) {
    /** Objects that score more than [scoreThreshold], boxes in pixels of the input, clipped to it. */
    fun read(
        boxes: FloatArray,
        classes: FloatArray,
        scores: FloatArray,
        count: Float,
        scoreThreshold: Float
    ): Detections {
        val found = IntArray(scores.size)
        var kept = 0
        val corners = FloatArray(boxes.size)
        for (i in scores.indices) {
            // Comparisons with what is not a number are false.
            if (!(i < count && scores[i] > scoreThreshold)) continue
            val at = 4 * kept
            corners[at] = (boxes[4 * i + 1] * width).coerceIn(0f, width.toFloat())
            corners[at + 1] = (boxes[4 * i] * height).coerceIn(0f, height.toFloat())
            corners[at + 2] = (boxes[4 * i + 3] * width).coerceIn(0f, width.toFloat())
            corners[at + 3] = (boxes[4 * i + 2] * height).coerceIn(0f, height.toFloat())
            if (corners[at + 2] - corners[at] > 0 && corners[at + 3] - corners[at + 1] > 0) found[kept++] = i
        }
        return Detections(
            corners.copyOf(4 * kept),
            FloatArray(kept) { scores[found[it]] },
            IntArray(kept) { classes[found[it]].toInt() }
        )
    }
}
