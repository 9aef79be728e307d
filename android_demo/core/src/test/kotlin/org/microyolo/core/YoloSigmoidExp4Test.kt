package org.microyolo.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class YoloSigmoidExp4Test {
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
            contract.outputs.zip(outputs).map { (output, bytes) ->
                val buffer = bufferFor(output.tensor)
                assertEquals(buffer.capacity(), bytes.size)
                if (output.tensor.dtype.bytes == 1) buffer.put(bytes) else swapped(output.tensor.dtype, bytes, buffer)
                OutputReader(output.tensor).read(buffer)
            }
        return contract.coding.decoder(contract).decode(values, score, iou)
    }

    private fun swapped(dtype: DType, bytes: ByteArray, to: ByteBuffer) {
        val from = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        while (from.hasRemaining()) {
            if (dtype == DType.INT16) to.putShort(from.getShort()) else to.putInt(from.getInt())
        }
    }

    /** Of one cell with one anchor and one class. */
    private fun smallest(vararg widths: Pair<OutputKind, Int>): Contract {
        fun tensor(vararg shape: Int) = TensorSpec("t", 0, shape.toList(), DType.FLOAT32, 0f, 0)
        return Contract(
            name = "smallest",
            arch = "a",
            variant = "float32",
            input = Input(tensor(1, 8, 8, 3), ResizeRule.STRETCH, LETTERBOX_FILL),
            outputs = widths.map { (kind, width) -> Output(tensor(1, 1, 1, width), kind, "row", 8) },
            anchors = mapOf("row" to floatArrayOf(10f, 10f)),
            labels = listOf("a"),
            modelSha256 = "",
            nms = Nms(),
            coding = YoloSigmoidExp4
        ).also(::checkContract)
    }

    private fun one(
        box: FloatArray = floatArrayOf(0.5f, 0.5f, 0.5f, 0.5f),
        objectness: Float = 1f,
        category: Float = 1f
    ) = YoloSigmoidExp4
        .decoder(smallest(OutputKind.BOXES to 4, OutputKind.OBJECTNESS to 1, OutputKind.CLASSES to 1))
        .decode(listOf(box, floatArrayOf(objectness), floatArrayOf(category)), 0.25f, 0.6f)

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
    fun `outputs come in any order`() {
        val turned = smallest(OutputKind.CLASSES to 1, OutputKind.BOXES to 4, OutputKind.OBJECTNESS to 1)
        val decoder = YoloSigmoidExp4.decoder(turned)
        val found = decoder.decode(listOf(floatArrayOf(0.75f), FloatArray(4) { 0.5f }, floatArrayOf(0.5f)), 0.25f, 0.6f)
        assertEquals(listOf(0.375f), found.scores.toList())
        assertEquals(listOf(0f, 0f, 8f, 8f), found.boxes.toList())
    }
}
