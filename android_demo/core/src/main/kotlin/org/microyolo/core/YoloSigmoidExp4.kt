package org.microyolo.core

import kotlin.math.exp

/**
 * The coding of tflite/heads/yolo.py: a detection row is a grid each of boxes, objectness and classes, after the sigmoid,
 * channels anchor-major. Of cell i, j of a row of stride S, and an anchor aw x ah, s0 to s3 mean the box with the centre
 * (j + 2 s0 - 0.5) S, (i + 2 s1 - 0.5) S and the size aw exp(4 s2 - 2), ah exp(4 s3 - 2).
 */
internal object YoloSigmoidExp4 : Coding {
    override val label = "yolo-sigmoid-exp4/1"
    override val head = HeadKind.RAW

    /** The outputs of a row, and how many values an anchor has in each. */
    private fun widths(classes: Int) =
        mapOf(OutputKind.BOXES to 4, OutputKind.OBJECTNESS to 1, OutputKind.CLASSES to classes)

    override fun check(contract: Contract) {
        if (contract.anchors.isEmpty()) fail("anchors: must not be empty")
        val classes = contract.labels.size
        val widths = widths(classes)
        val wanted = contract.anchors.keys.flatMap { row -> widths.keys.map { row to it.label } }
        val found = contract.outputs.map { it.row to it.kind.label }
        if (found.size != wanted.size || found.toSet() != wanted.toSet()) {
            fail("outputs: must be ${widths.keys.joinToString { it.label }} of each row of anchors, got $found")
        }
        val (width, height) = contract.input.width to contract.input.height
        for ((tensor, kind, row, stride) in contract.outputs) {
            if (stride < 1) fail("${tensor.name}.stride: must be at least 1, got $stride")
            val common = contract.output(row, OutputKind.BOXES).stride
            if (stride != common) fail("${tensor.name}.stride: must be $common as of the boxes, got $stride")
            val anchors = contract.anchors.getValue(row).size / 2
            val expected = listOf(1, height / stride, width / stride, anchors * widths.getValue(kind))
            if (tensor.shape != expected) {
                fail(
                    "${tensor.name}.shape: must be $expected for $classes labels and $anchors anchors, got " +
                        "${tensor.shape}"
                )
            }
        }
    }

    override fun decoder(contract: Contract): Decoder {
        val rows = contract.outputs.map { it.row }.distinct().map { Row(contract, it) }
        val classes = contract.labels.size
        val candidates =
            contract.run { Candidates(input.width, input.height, nms.maxDetections, nms.preNms) }
        return Decoder { values, scoreThreshold, iouThreshold ->
            candidates.clear()
            for (i in rows.indices) rows[i].collect(values, classes, scoreThreshold, candidates)
            candidates.suppress(iouThreshold)
        }
    }

    /** A detection row, and where its outputs are among those of the [contract]. */
    private class Row(contract: Contract, name: String) {
        private val stride = contract.output(name, OutputKind.BOXES).stride
        private val across = contract.input.width / stride

        // Width, height, width, height, ... in pixels of the input.
        private val anchors = contract.anchors.getValue(name)
        private val boxesAt = contract.indexOf(name, OutputKind.BOXES)
        private val objectnessAt = contract.indexOf(name, OutputKind.OBJECTNESS)
        private val classesAt = contract.indexOf(name, OutputKind.CLASSES)

        fun collect(values: List<FloatArray>, classes: Int, scoreThreshold: Float, to: Candidates) {
            val boxes = values[boxesAt]
            val objectnesses = values[objectnessAt]
            val probabilities = values[classesAt]
            for (at in objectnesses.indices) {
                val objectness = objectnesses[at]
                // A score is at most its objectness. Not a number is not greater either.
                if (!(objectness > scoreThreshold)) continue
                for (category in 0 until classes) {
                    val score = objectness * probabilities[at * classes + category]
                    if (score > scoreThreshold) place(boxes, at, score, category, to)
                }
            }
        }

        private fun place(coded: FloatArray, at: Int, score: Float, category: Int, to: Candidates) {
            val cell = at / (anchors.size / 2)
            val anchor = at % (anchors.size / 2)
            val centreX = (cell % across + (2 * coded[4 * at]).toDouble() - 0.5) * stride
            val centreY = (cell / across + (2 * coded[4 * at + 1]).toDouble() - 0.5) * stride
            val halfWidth = anchors[2 * anchor] * exp(4 * coded[4 * at + 2] - 2) / 2
            val halfHeight = anchors[2 * anchor + 1] * exp(4 * coded[4 * at + 3] - 2) / 2
            to.add(
                centreX - halfWidth,
                centreY - halfHeight,
                centreX + halfWidth,
                centreY + halfHeight,
                score,
                category
            )
        }
    }
}
