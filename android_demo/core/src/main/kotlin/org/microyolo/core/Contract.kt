package org.microyolo.core

/** Element types of tensors; [bytes] per element. */
enum class DType(val bytes: Int) {
    FLOAT32(4),
    UINT8(1),
    INT8(1),
    INT16(2)
    ;

    /** As the contract writes it. */
    val label = name.lowercase()
}

/** A tensor as the contract or a runtime describes it: value = (stored - [zeroPoint]) * [scale], for float32 the stored. */
data class TensorSpec(
    val name: String,
    val index: Int,
    val shape: List<Int>,
    val dtype: DType,
    val scale: Float,
    val zeroPoint: Int
) {
    /** Elements in all. */
    val size get() = shape.fold(1, Int::times)
}

/**
 * The one input, RGB pixels.
 *
 * @property resize the rule of [Fit] by which pictures get its size.
 * @property fill grey value around a letterboxed picture.
 */
data class Input(val tensor: TensorSpec, val resize: ResizeRule, val fill: Int) {
    val height get() = tensor.shape[1]
    val width get() = tensor.shape[2]
}

/** What an output holds. Which of them a file has, and how they are read, its coding knows. */
enum class OutputKind {
    BOXES,
    OBJECTNESS,
    CLASSES,
    SCORES,
    COUNT
    ;

    /** As the contract writes it. */
    val label = name.lowercase()
}

/**
 * An output.
 *
 * @property row the detection row it belongs to; "" for the detections head.
 * @property stride input pixels per cell; 0 for the detections head.
 */
data class Output(val tensor: TensorSpec, val kind: OutputKind, val row: String, val stride: Int)

/** Thresholds to use unless the user says otherwise; see tflite/contract.py. */
data class Nms(
    val scoreThreshold: Float = 0.25f,
    val iouThreshold: Float = 0.6f,
    val maxDetections: Int = 100,
    val preNms: Int = 1000,
    val lowestScore: Float = 0.001f
)

/** What the outputs are: grids for the app to decode and suppress, or detections that the file suppressed itself. */
enum class HeadKind(val label: String) {
    RAW("raw"),
    DETECTIONS("detections")
}

/**
 * The JSON beside a .tflite: all that an application needs to run it. The mirror of tflite/contract.py.
 *
 * @property anchors row -> width, height, width, height, ... in pixels of the input; none for the detections head.
 */
class Contract internal constructor(
    val name: String,
    val arch: String,
    val variant: String,
    val input: Input,
    val outputs: List<Output>,
    val anchors: Map<String, FloatArray>,
    val labels: List<String>,
    val modelSha256: String,
    val nms: Nms,
    internal val coding: Coding
) {
    val head get() = coding.head

    /** Where the output of one [kind] of a [row] is among the outputs; of the detections head the row is "". */
    fun indexOf(row: String, kind: OutputKind): Int = outputs.indexOfFirst { it.row == row && it.kind == kind }

    fun output(row: String, kind: OutputKind): Output = outputs[indexOf(row, kind)]

    companion object {
        const val FORMAT = "micro-yolo/1"

        /** The contract in [text]; [ModelException], beginning with [where], for anything else. */
        fun parse(text: String, where: String = "contract"): Contract {
            val value =
                try {
                    Json.parse(text)
                } catch (error: ModelException) {
                    throw ModelException("$where: must be JSON, got ${error.message}")
                }
            val format = (value as? Map<*, *>)?.get("format").toString()
            if (!format.startsWith("micro-yolo/")) {
                throw ModelException("$where: not a contract of ours; `python -m pipeline.convert` writes one")
            }
            if (format != FORMAT) {
                throw ModelException("$where: format $format is not known here; allowed: $FORMAT; update the app")
            }
            return try {
                ContractReader(Fields(value, "")).read().also(::checkContract)
            } catch (error: ModelException) {
                throw ModelException("$where: ${error.message}")
            }
        }
    }
}
