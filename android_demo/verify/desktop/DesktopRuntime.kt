package org.microyolo.desktop

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.bytedeco.javacpp.BytePointer
import org.bytedeco.javacpp.Pointer
import org.bytedeco.tensorflowlite.BuiltinOpResolverWithXNNPACK
import org.bytedeco.tensorflowlite.FlatBufferModel
import org.bytedeco.tensorflowlite.Interpreter
import org.bytedeco.tensorflowlite.InterpreterBuilder
import org.bytedeco.tensorflowlite.TfLiteTensor
import org.microyolo.core.DType
import org.microyolo.core.ModelRuntime
import org.microyolo.core.TensorSpec

/** TFLite on a desktop JVM, with the kernels (XNNPACK) that Android and Python use too. */
class DesktopRuntime(data: ByteArray) : ModelRuntime {
    // The model is not copied, so it must live as long as the interpreter.
    private val bytes = BytePointer(*data)
    private val model =
        FlatBufferModel.BuildFromBuffer(bytes, data.size.toLong()) ?: error("the runtime refuses the model")
    private val resolver = BuiltinOpResolverWithXNNPACK(true)
    private val interpreter = Interpreter(null as Pointer?)

    init {
        val builder = InterpreterBuilder(model, resolver)
        check(builder.apply(interpreter, 1) == 0) { "the runtime refuses the model" }
        check(interpreter.AllocateTensors() == 0) { "the runtime cannot allocate the tensors" }
    }

    private val inputIndices = interpreter.inputs().run { List(limit().toInt()) { get(it.toLong()) } }
    private val outputIndices = interpreter.outputs().run { List(limit().toInt()) { get(it.toLong()) } }

    override val inputs = inputIndices.map(::spec)
    override val outputs = outputIndices.map(::spec)

    private fun spec(index: Int): TensorSpec {
        val tensor = interpreter.tensor(index)
        val quantization = tensor.params()
        return TensorSpec(
            tensor.name().string,
            index,
            List(tensor.dims().size()) { tensor.dims().data(it) },
            TYPES[tensor.type()] ?: error("type ${tensor.type()} is not known here"),
            quantization.scale(),
            quantization.zero_point()
        )
    }

    override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
        content(interpreter.tensor(inputIndices.single())).put(input.duplicate())
        check(interpreter.Invoke() == 0) { "the runtime cannot run the model" }
        for ((index, buffer) in outputIndices.zip(results)) {
            buffer.clear()
            buffer.put(content(interpreter.tensor(index)))
        }
    }

    private fun content(tensor: TfLiteTensor): ByteBuffer = tensor
        .data()
        .raw()
        .capacity(tensor.bytes())
        .asByteBuffer()
        .order(ByteOrder.nativeOrder())

    override fun close() {
        interpreter.close()
        resolver.close()
        model.close()
        bytes.close()
    }

    private companion object {
        val TYPES = mapOf(1 to DType.FLOAT32, 3 to DType.UINT8, 7 to DType.INT16, 9 to DType.INT8)
    }
}
