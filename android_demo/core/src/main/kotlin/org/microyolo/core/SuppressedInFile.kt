package org.microyolo.core

/**
 * The coding of a file that suppresses by itself: boxes (top, left, bottom, right in 0..1), classes, scores and count of
 * TFLite_Detection_PostProcess, best first. The mirror of tflite/detector.py.
 */
internal object SuppressedInFile : Coding {
    override val label = "detections/1"
    override val head = HeadKind.DETECTIONS

    override fun check(contract: Contract) {
        val most = contract.nms.maxDetections
        val wanted =
            listOf(
                OutputKind.BOXES to listOf(1, most, 4),
                OutputKind.CLASSES to listOf(1, most),
                OutputKind.SCORES to listOf(1, most),
                OutputKind.COUNT to listOf(1)
            ).map { (kind, shape) -> kind.label to shape }
        val found = contract.outputs.map { it.kind.label to it.tensor.shape }
        if (found != wanted || contract.anchors.isNotEmpty()) {
            fail("outputs: must be $wanted of $most detections and no anchors, got $found")
        }
    }

    override fun decoder(contract: Contract): Decoder {
        val (width, height) = contract.input.width to contract.input.height
        val reader = Reader(contract.nms.maxDetections, width.toFloat(), height.toFloat())
        return Decoder { (boxes, classes, scores, count), scoreThreshold, _ ->
            reader.read(boxes, classes, scores, count[0], scoreThreshold)
        }
    }

    private class Reader(most: Int, private val width: Float, private val height: Float) {
        private val found = IntArray(most)
        private val corners = FloatArray(4 * most)
        private val results = Results()

        fun read(
            boxes: FloatArray,
            classes: FloatArray,
            scores: FloatArray,
            count: Float,
            scoreThreshold: Float
        ): Detections {
            var kept = 0
            for (i in scores.indices) {
                // Comparisons with what is not a number are false.
                if (!(i < count && scores[i] > scoreThreshold)) continue
                val at = 4 * kept
                corners[at] = (boxes[4 * i + 1] * width).coerceIn(0f, width)
                corners[at + 1] = (boxes[4 * i] * height).coerceIn(0f, height)
                corners[at + 2] = (boxes[4 * i + 3] * width).coerceIn(0f, width)
                corners[at + 3] = (boxes[4 * i + 2] * height).coerceIn(0f, height)
                if (corners[at + 2] - corners[at] > 0 && corners[at + 3] - corners[at + 1] > 0) found[kept++] = i
            }
            val result = results.of(kept)
            corners.copyInto(result.boxes, 0, 0, 4 * kept)
            for (i in 0 until kept) {
                result.scores[i] = scores[found[i]]
                result.classes[i] = classes[found[i]].toInt()
            }
            return result
        }
    }
}
