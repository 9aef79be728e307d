package org.microyolo.app

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.microyolo.core.DType
import org.microyolo.core.ModelException
import org.microyolo.core.ModelRuntime
import org.microyolo.core.TensorSpec
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import org.tensorflow.lite.gpu.CompatibilityList
import org.tensorflow.lite.gpu.GpuDelegate

/** TFLite on this device. All calls must come from the thread that made it: a GPU's context belongs to one. */
class TfliteRuntime private constructor(private val interpreter: Interpreter, private val delegate: Delegate?) :
    ModelRuntime {
    override val inputs = List(interpreter.inputTensorCount) { spec(interpreter.getInputTensor(it)) }
    override val outputs = List(interpreter.outputTensorCount) { spec(interpreter.getOutputTensor(it)) }
    private val given = arrayOfNulls<Any>(1)
    private val places = HashMap<Int, Any>()

    override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
        given[0] = input
        for (i in results.indices) places[i] = results[i]
        interpreter.runForMultipleInputsOutputs(given, places)
    }

    override fun close() {
        interpreter.close()
        delegate?.close()
    }

    companion object : Runtimes {
        /** [data] loaded for the CPU. Throws what the runtime throws if it refuses the model. */
        override fun cpu(data: ByteArray, threads: Int): ModelRuntime =
            make(data, Interpreter.Options().setNumThreads(threads), null)

        /** [data] loaded for the GPU; null if it is not known to run TFLite. Throws if it refuses the model. */
        override fun gpu(data: ByteArray): ModelRuntime? {
            val supported = CompatibilityList().use { it.isDelegateSupportedOnThisDevice }
            if (!supported) return null
            val delegate = GpuDelegate()
            return make(data, Interpreter.Options().addDelegate(delegate), delegate)
        }

        private fun make(data: ByteArray, options: Interpreter.Options, delegate: Delegate?): TfliteRuntime {
            val model = ByteBuffer.allocateDirect(data.size).order(ByteOrder.nativeOrder()).put(data)
            var interpreter: Interpreter? = null
            try {
                interpreter = Interpreter(model, options)
                interpreter.allocateTensors()
                return TfliteRuntime(interpreter, delegate)
            } catch (error: RuntimeException) {
                interpreter?.close()
                delegate?.close()
                throw error
            }
        }

        private fun spec(tensor: Tensor): TensorSpec {
            val dtype =
                when (tensor.dataType()) {
                    DataType.FLOAT32 -> DType.FLOAT32

                    DataType.UINT8 -> DType.UINT8

                    DataType.INT8 -> DType.INT8

                    DataType.INT16 -> DType.INT16

                    else -> throw ModelException(
                        "${tensor.name()}: has type ${tensor.dataType()}, which no model of ours has"
                    )
                }
            val quantization = tensor.quantizationParams()
            return TensorSpec(
                tensor.name(),
                tensor.index(),
                tensor.shape().toList(),
                dtype,
                quantization.scale,
                quantization.zeroPoint
            )
        }
    }
}
