package org.microyolo.core

/** Objects out of what the graph gave. May keep buffers, so one is not for several threads at once. */
internal fun interface Decoder {
    /**
     * Objects that score more than [scoreThreshold], boxes in pixels of the input, until the next call.
     *
     * @param values one array per output of the contract, in its order.
     * @param iouThreshold of the suppression, unless the file suppresses by itself.
     */
    fun decode(values: List<FloatArray>, scoreThreshold: Float, iouThreshold: Float): Detections
}

/**
 * How outputs are to be read, by the name that contracts have for it. Only a coding knows its outputs: a new one is an
 * object in a file of its own and a line in [CODINGS].
 */
internal interface Coding {
    val label: String

    val head: HeadKind

    /** Throws [ModelException] unless [contract] has the outputs, and whatever else they are read with. */
    fun check(contract: Contract)

    /** What reads the outputs of a [contract] that was checked. */
    fun decoder(contract: Contract): Decoder

    companion object {
        /** The coding [label] of a [head]; without one, what [head] meant before contracts named it: its first. */
        fun of(head: HeadKind, label: String?): Coding {
            val allowed = CODINGS.filter { it.head == head }
            if (label == null) return allowed.first()
            return allowed.find { it.label == label }
                ?: fail(
                    "coding: unknown, got '$label'; allowed for ${head.label}: " +
                        "${allowed.joinToString { it.label }}; update the app"
                )
        }
    }
}

private val CODINGS = listOf(YoloSigmoidExp4, SuppressedInFile)
