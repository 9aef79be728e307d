package org.microyolo.core

/**
 * Found objects, best first.
 *
 * @property boxes corners x0, y0, x1, y1 of one after the other, in pixels.
 * @property scores 0..1.
 * @property classes class numbers.
 */
class Detections(val boxes: FloatArray, val scores: FloatArray, val classes: IntArray) {
    val size get() = scores.size

    fun box(i: Int): Box = Box(boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3])

    companion object {
        val NONE = Detections(FloatArray(0), FloatArray(0), IntArray(0))
    }
}

/** A rectangle with [x0] <= [x1] and [y0] <= [y1]. */
data class Box(val x0: Float, val y0: Float, val x1: Float, val y1: Float) {
    val width get() = x1 - x0
    val height get() = y1 - y0

    /** Overlap over union. */
    fun iou(other: Box): Float {
        val across = maxOf(minOf(x1, other.x1) - maxOf(x0, other.x0), 0f)
        val down = maxOf(minOf(y1, other.y1) - maxOf(y0, other.y0), 0f)
        val common = across * down
        return common / maxOf(width * height + other.width * other.height - common, 1e-9f)
    }
}
