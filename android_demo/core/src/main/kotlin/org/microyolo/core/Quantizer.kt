package org.microyolo.core

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.round

/** A direct buffer for the elements of [tensor], in the machine's byte order, as TFLite takes it. */
fun bufferFor(tensor: TensorSpec): ByteBuffer =
    ByteBuffer.allocateDirect(tensor.size * tensor.dtype.bytes).order(ByteOrder.nativeOrder())

/** uint8 pixels to what an input stores: p for float32, else round(p / scale) + zero point, halves to even. */
class InputWriter(private val tensor: TensorSpec) {
    private val stored =
        IntArray(256) { pixel ->
            when (tensor.dtype) {
                DType.FLOAT32 -> pixel.toFloat().toRawBits()
                DType.UINT8 -> scaled(pixel, 0, 255)
                DType.INT8 -> scaled(pixel, -128, 127)
                DType.INT16 -> scaled(pixel, -32768, 32767)
            }
        }
    private val bytes = ByteArray(tensor.size * tensor.dtype.bytes)

    private fun scaled(pixel: Int, least: Int, most: Int) = (
        round(
            (pixel.toFloat() / tensor.scale).toDouble()
        ) + tensor.zeroPoint
        ).coerceIn(least.toDouble(), most.toDouble()).toInt()

    /** Fills [to], made by [bufferFor], with [image] of the input's size, and rewinds it. */
    fun write(image: RgbImage, to: ByteBuffer) {
        // As a Buffer: ByteBuffer's own overrides of these methods are missing on old Androids.
        (to as Buffer).clear()
        val pixels = image.pixels
        when (tensor.dtype) {
            DType.UINT8, DType.INT8 -> {
                for (i in bytes.indices) bytes[i] = stored[pixels[i].toInt() and 255].toByte()
                to.put(bytes)
            }

            DType.INT16 -> for (i in 0 until tensor.size) to.putShort(stored[pixels[i].toInt() and 255].toShort())

            DType.FLOAT32 -> for (i in 0 until tensor.size) to.putInt(stored[pixels[i].toInt() and 255])
        }
        (to as Buffer).rewind()
    }
}

/** What an output stores to float32: (stored - zero point) * scale. Keeps its array. */
class OutputReader(private val tensor: TensorSpec) {
    private val values = FloatArray(tensor.size)

    /** The values in [from], made by [bufferFor], from its beginning; the next call overwrites them. */
    fun read(from: ByteBuffer): FloatArray {
        val zero = tensor.zeroPoint.toFloat()
        val scale = tensor.scale
        when (tensor.dtype) {
            DType.FLOAT32 -> for (i in values.indices) values[i] = from.getFloat(4 * i)
            DType.INT8 -> for (i in values.indices) values[i] = (from.get(i).toFloat() - zero) * scale
            DType.UINT8 -> for (i in values.indices) values[i] = ((from.get(i).toInt() and 255) - zero) * scale
            DType.INT16 -> for (i in values.indices) values[i] = (from.getShort(2 * i).toFloat() - zero) * scale
        }
        return values
    }
}
