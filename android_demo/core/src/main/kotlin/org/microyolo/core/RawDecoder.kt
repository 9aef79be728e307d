package org.microyolo.core

import kotlin.math.exp
import kotlin.math.min

/** Boxes, objectness and classes of a [Head], float32 after the sigmoid, channels anchor-major. */
class Grids(val boxes: FloatArray, val objectness: FloatArray, val classes: FloatArray)

/**
 * Raw grids to boxes and their suppression; the mirror of tflite/decode.py, which has the box coding. Keeps its buffers,
 * so one is not for several threads at once.
 */
class RawDecoder(
    private val heads: List<Head>,
    private val width: Int,
    private val height: Int,
    private val classes: Int,
    private val maxDetections: Int,
    private val preNms: Int
) {
    private var count = 0
    private var boxes = FloatArray(0)
    private var scores = FloatArray(0)
    private var category = IntArray(0)
    private var order = LongArray(0)

    /** Objects that score more than [scoreThreshold] in [grids], one per head; boxes in pixels of the input. */
    fun decode(grids: List<Grids>, scoreThreshold: Float, iouThreshold: Float): Detections {
        if (grids.size != heads.size) fail("decode: needs grids of ${heads.size} heads, got ${grids.size}")
        count = 0
        for ((head, grid) in heads.zip(grids)) collect(head, grid, scoreThreshold)
        // Sorted as integers: high score first, among equal ones in the order they were found.
        order.sort(0, count)
        return suppress(iouThreshold)
    }

    private fun collect(head: Head, grid: Grids, scoreThreshold: Float) {
        val across = width / head.stride
        val anchors = head.anchors.size / 2
        val cells = across * (height / head.stride) * anchors
        if (grid.boxes.size != cells * 4 || grid.objectness.size != cells || grid.classes.size != cells * classes) {
            fail(
                "decode: grids of ${grid.boxes.size}, ${grid.objectness.size} and ${grid.classes.size} values do not " +
                    "fit $cells anchors and $classes classes of ${head.row}"
            )
        }
        for (cell in 0 until cells) {
            val objectness = grid.objectness[cell]
            // A score is at most its objectness. Not a number is not greater either.
            if (!(objectness > scoreThreshold)) continue
            for (label in 0 until classes) {
                val score = objectness * grid.classes[cell * classes + label]
                if (score > scoreThreshold) {
                    grow()
                    place(head, grid.boxes, cell, cell / anchors % across, cell / anchors / across, cell % anchors)
                    scores[count] = score
                    category[count] = label
                    order[count] = (score.toRawBits().inv().toLong() shl 32) or count.toLong()
                    count++
                }
            }
        }
    }

    private fun place(head: Head, coded: FloatArray, cell: Int, column: Int, row: Int, anchor: Int) {
        val centreX = (column + (2 * coded[4 * cell]).toDouble() - 0.5) * head.stride
        val centreY = (row + (2 * coded[4 * cell + 1]).toDouble() - 0.5) * head.stride
        val halfWidth = head.anchors[2 * anchor] * exp(4 * coded[4 * cell + 2] - 2) / 2
        val halfHeight = head.anchors[2 * anchor + 1] * exp(4 * coded[4 * cell + 3] - 2) / 2
        val at = 4 * count
        boxes[at] = (centreX - halfWidth).toFloat().coerceIn(0f, width.toFloat())
        boxes[at + 1] = (centreY - halfHeight).toFloat().coerceIn(0f, height.toFloat())
        boxes[at + 2] = (centreX + halfWidth).toFloat().coerceIn(0f, width.toFloat())
        boxes[at + 3] = (centreY + halfHeight).toFloat().coerceIn(0f, height.toFloat())
    }

    private fun suppress(iouThreshold: Float): Detections {
        val kept = IntArray(min(maxDetections, count))
        var found = 0
        for (rank in 0 until min(count, preNms)) {
            if (found == maxDetections) break
            val candidate = order[rank].toInt()
            if (isSolid(candidate) && (0 until found).none { overlaps(kept[it], candidate, iouThreshold) }) {
                kept[found++] = candidate
            }
        }
        val corners = FloatArray(4 * found) { boxes[4 * kept[it / 4] + it % 4] }
        return Detections(corners, FloatArray(found) { scores[kept[it]] }, IntArray(found) { category[kept[it]] })
    }

    private fun isSolid(i: Int) = boxes[4 * i + 2] - boxes[4 * i] > 0 && boxes[4 * i + 3] - boxes[4 * i + 1] > 0

    private fun overlaps(a: Int, b: Int, iouThreshold: Float) =
        category[a] == category[b] && box(a).iou(box(b)) > iouThreshold

    private fun box(i: Int) = Box(boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3])

    private fun grow() {
        if (count < category.size) return
        val size = maxOf(64, 2 * count)
        boxes = boxes.copyOf(4 * size)
        scores = scores.copyOf(size)
        category = category.copyOf(size)
        order = order.copyOf(size)
    }
}
