package org.microyolo.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class ContractTest {
    private val shipped = Golden.shippedContract()

    private fun message(text: String) = try {
        Contract.parse(text, "m.json")
        "accepted"
    } catch (error: ModelException) {
        error.message.orEmpty()
    }

    private fun assertRefused(message: String, from: String, to: String) {
        assertTrue("'$from' is not in the contract", from in shipped)
        assertEquals(message, message(shipped.replaceFirst(from, to)))
    }

    @Test
    fun `the shipped contract`() {
        val contract = Contract.parse(shipped)
        assertEquals(listOf("nine", "ten", "jack", "queen", "king", "ace"), contract.labels)
        assertEquals(320 to 320, contract.input.width to contract.input.height)
        assertEquals(DType.UINT8, contract.input.tensor.dtype)
        assertEquals(ResizeRule.STRETCH, contract.input.resize)
        assertEquals(HeadKind.RAW, contract.head)
        assertEquals(listOf("l16" to 32, "l23" to 16), contract.heads.map { it.row to it.stride })
        assertEquals(6, contract.heads[0].anchors.size)
        assertEquals(1 / 256f, contract.output("l23", "classes").tensor.scale)
        assertEquals(Nms(), contract.nms)
    }

    @Test
    fun `what a newer writer of the format adds is skipped`() {
        val text = shipped.replaceFirst("{", "{\"new\": [1e-3, \"\\u00fc\\n\", null, true, {}], ")
        assertEquals(6, Contract.parse(text).labels.size)
    }

    @Test
    fun `text that is not a contract`() {
        assertEquals("m.json: must be JSON, got the text ends in the middle at character 0", message(""))
        assertEquals("m.json: must be JSON, got unexpected 'N' at character 6", message("{\"a\": NaN}"))
        assertEquals("m.json: must be JSON, got text after the end at character 3", message("{} x"))
        assertEquals("m.json: must be JSON, got nested too deep at character 101", message("[".repeat(9999)))
        val foreign = "m.json: not a contract of ours; `python -m pipeline.convert` writes one"
        assertEquals(foreign, message("[]"))
        assertEquals(foreign, message("{\"format\": 3}"))
        for (length in 0 until shipped.length - 2) assertTrue("$length", message(shipped.take(length)) != "accepted")
    }

    @Test
    fun `a newer version`() = assertRefused(
        "m.json: format micro-yolo/2 is not known here; allowed: micro-yolo/1; update the app",
        "micro-yolo/1",
        "micro-yolo/2"
    )

    @Test
    fun `labels fewer than classes`() = assertRefused(
        "m.json: l16_classes.shape: must be [1, 10, 10, 15] for 5 labels and 3 anchors, got [1, 10, 10, 18]",
        "\"ten\",",
        ""
    )

    @Test
    fun `parts that are missing or wrong`() {
        assertRefused("m.json: labels missing", "\"labels\"", "\"names\"")
        assertRefused("m.json: input.shape missing", "\"shape\"", "\"form\"")
        assertRefused(
            "m.json: labels: must be a list of strings, got [nine, 10.0, jack, queen, king, ace]",
            "\"ten\"",
            "10"
        )
        assertRefused("m.json: outputs[0].stride: must be an integer, got 3.5", "\"stride\": 32", "\"stride\": 3.5")
        assertRefused("m.json: l16_boxes.stride: must be at least 1, got 0", "\"stride\": 32", "\"stride\": 0")
        assertRefused(
            "m.json: head: unknown, got 'new'; allowed: raw, detections",
            "\"head\": \"raw\"",
            "\"head\": \"new\""
        )
        assertRefused(
            "m.json: input.resize: unknown rule, got 'crop'; allowed: stretch, letterbox",
            "\"stretch\"",
            "\"crop\""
        )
        assertRefused(
            "m.json: image.dtype: unknown, got 'int4'; allowed: float32, uint8, int8, int16",
            "\"uint8\"",
            "\"int4\""
        )
        assertRefused("m.json: image.scale: must be positive for uint8, got 0.0", "\"scale\": 1.0", "\"scale\": 0")
        assertRefused(
            "m.json: nms: thresholds must be in 0..1, got 0.25, 6.0, 0.001",
            "\"iou_threshold\": 0.6",
            "\"iou_threshold\": 6"
        )
        assertRefused(
            "m.json: nms: counts must be at least 1, got 0 and 1000",
            "\"max_detections\": 100",
            "\"max_detections\": 0"
        )
    }

    @Test
    fun `wrong outputs`() {
        val missing = message(shipped.replaceFirst("\"kind\": \"objectness\"", "\"kind\": \"boxes\""))
        assertTrue(missing, missing.startsWith("m.json: outputs: must be boxes, objectness, classes of each row of"))
        val rows = message(shipped.replaceFirst("\"row\": \"l16\"", "\"row\": \"l17\""))
        assertTrue(rows, rows.startsWith("m.json: outputs: must be boxes, objectness, classes of each row of"))
    }

    private fun detections(change: (String) -> String = { it }): String {
        val outputs = listOf("boxes" to "[1, 9, 4]", "classes" to "[1, 9]", "scores" to "[1, 9]", "count" to "[1]")
        val text = outputs.joinToString { (kind, shape) ->
            "{\"name\": \"$kind\", \"kind\": \"$kind\", \"row\": \"\", \"stride\": 0, \"shape\": $shape, " +
                "\"dtype\": \"float32\", \"scale\": 0.0, \"zero_point\": 0, \"index\": 1}"
        }
        return change(
            "{\"format\": \"micro-yolo/1\", \"name\": \"d\", \"arch\": \"a\", \"variant\": \"int8\", \"input\": {" +
                "\"name\": \"image\", \"shape\": [1, 8, 8, 3], \"dtype\": \"uint8\", \"scale\": 1.0, " +
                "\"zero_point\": 0, \"index\": 0}, \"outputs\": [$text], \"anchors\": {}, \"labels\": [\"a\"], " +
                "\"model_sha256\": \"0\", \"nms\": {\"max_detections\": 9}, \"head\": \"detections\"}"
        )
    }

    @Test
    fun `the head that suppresses in the file`() {
        val contract = Contract.parse(detections())
        assertEquals(HeadKind.DETECTIONS, contract.head)
        assertEquals(emptyList<Head>(), contract.heads)
        assertEquals(9, contract.output("", "scores").tensor.size)
        assertEquals(0.001f, contract.nms.lowestScore)
        val wrong = message(detections { it.replace("[1, 9, 4]", "[1, 8, 4]") })
        assertTrue(wrong, wrong.startsWith("m.json: outputs: must be [(boxes, [1, 9, 4]), (classes, [1, 9]), (scores,"))
        val named = message(detections { it.replace("\"kind\": \"count\"", "\"kind\": \"scores\"") })
        assertTrue(named, named.startsWith("m.json: outputs: must be"))
    }
}
