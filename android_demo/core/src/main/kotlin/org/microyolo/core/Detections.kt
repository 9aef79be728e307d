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

    /** The same, for good. */
    fun copy() = Detections(boxes.clone(), scores.clone(), classes.clone())

    /** Overlap over union of object [i] and object [j] of [other]. */
    internal fun iou(i: Int, other: Detections, j: Int) = overlap(boxes, 4 * i, other.boxes, 4 * j)

    companion object {
        val NONE = Detections(FloatArray(0), FloatArray(0), IntArray(0))
    }
}

/** One [Detections] of each size, made when it is first asked for: what a frame holds needs no memory of its own. */
internal class Results {
    private var made = arrayOfNulls<Detections>(0)

    /** Of [size] objects, which whoever asks next for that size overwrites. */
    fun of(size: Int): Detections {
        if (size >= made.size) made = made.copyOf(size + 1)
        return made[size] ?: Detections(FloatArray(4 * size), FloatArray(size), IntArray(size)).also { made[size] = it }
    }
}

/** Overlap over union of the corners at [i] of [a] and at [j] of [b]. */
internal fun overlap(a: FloatArray, i: Int, b: FloatArray, j: Int): Float {
    val across = maxOf(minOf(a[i + 2], b[j + 2]) - maxOf(a[i], b[j]), 0f)
    val down = maxOf(minOf(a[i + 3], b[j + 3]) - maxOf(a[i + 1], b[j + 1]), 0f)
    val common = across * down
    val both = (a[i + 2] - a[i]) * (a[i + 3] - a[i + 1]) + (b[j + 2] - b[j]) * (b[j + 3] - b[j + 1])
    return common / maxOf(both - common, 1e-9f)
}

/** A rectangle with [x0] <= [x1] and [y0] <= [y1]. */
data class Box(var x0: Float, var y0: Float, var x1: Float, var y1: Float) {
    val width get() = x1 - x0
    val height get() = y1 - y0
}
