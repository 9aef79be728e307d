package org.microyolo.core

import java.security.MessageDigest

/** A .tflite and its contract, which belong together; [path] is for messages. */
class ModelFile private constructor(val path: String, val bytes: Int, val contract: Contract) {
    /** The file's name without its folder and suffix. */
    val name = path.substringAfterLast('/').removeSuffix(SUFFIX)

    /** Throws [ModelException] unless the tensors a runtime found in the file are those of the contract. */
    fun compare(inputs: List<TensorSpec>, outputs: List<TensorSpec>) {
        if (inputs.size != 1) fail("$path: must have one input, got ${inputs.size}")
        if (outputs.size != contract.outputs.size) {
            fail("$path: has ${outputs.size} outputs, its contract says ${contract.outputs.size}")
        }
        compare(contract.input.tensor, inputs.single())
        for (output in contract.outputs) {
            val found =
                outputs.find { it.index == output.tensor.index }
                    ?: fail("$path: has no output '${output.tensor.name}', which its contract names")
            compare(output.tensor, found)
        }
    }

    private fun compare(said: TensorSpec, found: TensorSpec) {
        if (said.dtype != found.dtype || said.shape != found.shape) {
            fail(
                "$path: ${said.name} is ${found.dtype.label} ${found.shape}, its contract says ${said.dtype.label} " +
                    "${said.shape}"
            )
        }
        if (said.dtype != DType.FLOAT32 && (said.scale != found.scale || said.zeroPoint != found.zeroPoint)) {
            fail(
                "$path: ${said.name} has scale ${found.scale} and zero point ${found.zeroPoint}, its contract says " +
                    "${said.scale} and ${said.zeroPoint}"
            )
        }
    }

    companion object {
        const val SUFFIX = ".tflite"
        private const val IDENTIFIER = "TFL3"
        private const val IDENTIFIER_AT = 4

        /** Where the contract of [model] lies: beside it, with the suffix .json. */
        fun contractPath(model: String) = model.removeSuffix(SUFFIX) + ".json"

        /**
         * The model at [path] with the bytes [data] and the contract in [contract], null if none lies beside it: then
         * it is the one in [data].
         *
         * [ModelException]: the contract is missing or not valid, or [data] is not the file it was written for. A
         * damaged file can take the whole process down inside the runtime, so it must not get there.
         */
        fun open(path: String, data: ByteArray, contract: String?): ModelFile {
            if (data.isEmpty()) fail("$path: the file is empty")
            val identifier = String(data, 0, minOf(data.size, 8), Charsets.ISO_8859_1).drop(IDENTIFIER_AT)
            if (identifier != IDENTIFIER) fail("$path: not a .tflite")
            val (parsed, bytes) =
                if (contract == null) {
                    inside(path, data)
                } else {
                    Contract.parse(contract, contractPath(path)) to data.size
                }
            if (sha256(data, bytes) != parsed.modelSha256) {
                fail(
                    "$path: is not the file its contract was written for (SHA-256 differs): damaged, truncated or " +
                        "replaced; `python -m pipeline.convert --overwrite` makes both anew"
                )
            }
            return ModelFile(path, data.size, parsed)
        }

        private fun inside(path: String, data: ByteArray): Pair<Contract, Int> {
            val attached =
                try {
                    Attached.find(data)
                } catch (error: ModelException) {
                    fail("$path: ${error.message}")
                }
            if (attached == null) {
                fail(
                    "${contractPath(path)}: the contract of ${path.substringAfterLast('/')} is missing; a .tflite of " +
                        "ours has it in it, and a copy beside it; `python -m pipeline.convert` writes both"
                )
            }
            return Contract.parse(attached.text, "$path: its contract") to attached.modelBytes
        }

        private fun sha256(data: ByteArray, bytes: Int): String {
            val digest = MessageDigest.getInstance("SHA-256")
            digest.update(data, 0, bytes)
            return digest.digest().joinToString("") { "%02x".format(it) }
        }
    }
}
