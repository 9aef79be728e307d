package org.microyolo.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class RawDecoderTest {
    private val head = Head("a", 8, floatArrayOf(10f, 10f))

    @Test
    fun `random outputs give Python's detections`() {
        val cases = Golden.cases("decode.json")
        assertEquals(16, cases.size)
        for ((i, case) in cases.withIndex()) {
            val contract = Contract.parse(write(case["contract"]))
            val outputs = case.outputs()
            val expected = case["found"] as Map<*, *>
            val found = decode(contract, outputs, expected.float("score_threshold"), expected.float("iou_threshold"))
            assertFound(expected, found, "case $i of ${contract.variant}")
        }
        assertTrue("some find nothing", cases.any { (it["found"] as Map<*, *>).ints("classes").isEmpty() })
    }

    private fun decode(contract: Contract, outputs: List<ByteArray>, score: Float, iou: Float): Detections {
        val values =
            contract.outputs.zip(outputs).associate { (output, bytes) ->
                val buffer = bufferFor(output.tensor)
                assertEquals(buffer.capacity(), bytes.size)
                if (output.tensor.dtype.bytes == 1) buffer.put(bytes) else swapped(output.tensor.dtype, bytes, buffer)
                (output.row to output.kind) to OutputReader(output.tensor).read(buffer)
            }

        fun value(row: String, kind: String) = values.getValue(row to kind)
        val grids =
            contract.heads.map { Grids(value(it.row, "boxes"), value(it.row, "objectness"), value(it.row, "classes")) }
        val (width, height) = contract.input.width to contract.input.height
        val nms = contract.nms
        return RawDecoder(contract.heads, width, height, contract.labels.size, nms.maxDetections, nms.preNms)
            .decode(grids, score, iou)
    }

    private fun swapped(dtype: DType, bytes: ByteArray, to: ByteBuffer) {
        val from = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        while (from.hasRemaining()) {
            if (dtype == DType.INT16) to.putShort(from.getShort()) else to.putInt(from.getInt())
        }
    }

    private fun one(
        box: FloatArray = floatArrayOf(0.5f, 0.5f, 0.5f, 0.5f),
        objectness: Float = 1f,
        category: Float = 1f
    ) = RawDecoder(listOf(head), 8, 8, 1, 10, 10)
        .decode(listOf(Grids(box, floatArrayOf(objectness), floatArrayOf(category))), 0.25f, 0.6f)

    @Test
    fun `one box, clipped to the input`() {
        val found = one()
        assertEquals(listOf(0f, 0f, 8f, 8f), found.boxes.toList())
        assertEquals(Box(0f, 0f, 8f, 8f), found.box(0))
    }

    @Test
    fun `what is not a number is not found`() {
        assertEquals(0, one(objectness = Float.NaN).size)
        assertEquals(0, one(category = Float.NaN).size)
        for (i in 0 until 4) assertEquals(0, one(box = FloatArray(4) { if (it == i) Float.NaN else 0.5f }).size)
    }

    @Test
    fun `no detections`() {
        assertEquals(0, one(objectness = 0f).size)
        assertEquals(0, one(objectness = 0.25f).size)
        assertEquals(0, Detections.NONE.size)
    }

    @Test
    fun `grids that do not fit`() {
        assertMessage("decode: needs grids of 1 heads, got 0") {
            RawDecoder(listOf(head), 8, 8, 1, 10, 10).decode(emptyList(), 0.25f, 0.6f)
        }
        assertMessage("decode: grids of 4, 1 and 1 values do not fit 1 anchors and 2 classes of a") {
            RawDecoder(listOf(head), 8, 8, 2, 10, 10)
                .decode(listOf(Grids(FloatArray(4), FloatArray(1), FloatArray(1))), 0.25f, 0.6f)
        }
    }
}
