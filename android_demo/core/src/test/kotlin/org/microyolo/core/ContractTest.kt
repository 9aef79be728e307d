package org.microyolo.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test

class ContractTest {
    private val raw = Golden.contract(HeadKind.RAW)
    private val suppressed = Golden.contract(HeadKind.DETECTIONS)

    private fun message(text: String) = try {
        Contract.parse(text, "m.json")
        "accepted"
    } catch (error: ModelException) {
        error.message.orEmpty()
    }

    private fun assertRefused(message: String, from: String, to: String, contract: String = raw) {
        assertTrue("'$from' is not in the contract", from in contract)
        assertEquals(message, message(contract.replaceFirst(from, to)))
    }

    /** A contract with another value of [key], whether it has one or not: the later of two counts. */
    private fun with(key: String, value: String, contract: String = raw) =
        contract.trimEnd().removeSuffix("}") + ", \"$key\": $value}"

    @Test
    fun `the shipped contract`() {
        val contract = Contract.parse(Golden.shippedContract())
        assertEquals(listOf("nine", "ten", "jack", "queen", "king", "ace"), contract.labels)
        assertEquals(320 to 320, contract.input.width to contract.input.height)
        assertEquals(DType.UINT8, contract.input.tensor.dtype)
        assertEquals(ResizeRule.STRETCH, contract.input.resize)
        assertEquals(HeadKind.DETECTIONS, contract.head)
        assertEquals(Nms(scoreThreshold = 0.49f), contract.nms)
    }

    @Test
    fun `the raw head`() {
        val contract = Contract.parse(raw)
        assertEquals(HeadKind.RAW, contract.head)
        assertEquals(listOf("a", "b", "ü"), contract.labels)
        assertEquals(96 to 64, contract.input.width to contract.input.height)
        assertEquals(ResizeRule.LETTERBOX to 114, contract.input.resize to contract.input.fill)
        assertEquals(listOf("coarse", "fine"), contract.outputs.map { it.row }.distinct())
        assertEquals(listOf(30f, 20f, 50f, 60.5f), contract.anchors.getValue("coarse").toList())
        assertEquals(8, contract.output("fine", OutputKind.CLASSES).stride)
        assertEquals(1 / 256f, contract.output("fine", OutputKind.CLASSES).tensor.scale)
        assertEquals(Nms(maxDetections = 20, preNms = 100), contract.nms)
    }

    @Test
    fun `what a newer writer of the format adds is skipped`() {
        val text = raw.replaceFirst("{", "{\"new\": [1e-3, \"\\u00fc\\n\", null, true, {}], ")
        assertEquals(3, Contract.parse(text).labels.size)
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
        for (length in 0 until raw.length - 2) assertTrue("$length", message(raw.take(length)) != "accepted")
    }

    @Test
    fun `a newer version`() = assertRefused(
        "m.json: format micro-yolo/2 is not known here; allowed: micro-yolo/1; update the app",
        "micro-yolo/1",
        "micro-yolo/2"
    )

    @Test
    fun `labels fewer than classes`() = assertRefused(
        "m.json: coarse_classes.shape: must be [1, 4, 6, 4] for 2 labels and 2 anchors, got [1, 4, 6, 6]",
        "\"a\",",
        ""
    )

    @Test
    fun `parts that are missing or wrong`() {
        assertRefused("m.json: labels missing", "\"labels\"", "\"names\"")
        assertRefused("m.json: input.shape missing", "\"shape\"", "\"form\"")
        assertRefused(
            "m.json: labels: must be a list of strings, got [a, 10.0, ü]",
            "\"b\"",
            "10"
        )
        assertRefused("m.json: outputs[0].stride: must be an integer, got 3.5", "\"stride\": 16", "\"stride\": 3.5")
        assertRefused("m.json: coarse_boxes.stride: must be at least 1, got 0", "\"stride\": 16", "\"stride\": 0")
        assertRefused(
            "m.json: coarse_objectness.stride: must be 16 as of the boxes, got 8",
            "\"objectness\",\n      \"row\": \"coarse\",\n      \"stride\": 16",
            "\"objectness\",\n      \"row\": \"coarse\",\n      \"stride\": 8"
        )
        assertEquals("m.json: anchors: must not be empty", message(with("anchors", "{}")))
        assertRefused(
            "m.json: outputs[1].kind: unknown, got 'distances'; allowed: boxes, objectness, classes, scores, count",
            "\"kind\": \"objectness\"",
            "\"kind\": \"distances\""
        )
        assertRefused(
            "m.json: head: unknown, got 'new'; allowed: raw, detections",
            "\"head\": \"raw\"",
            "\"head\": \"new\""
        )
        assertRefused(
            "m.json: input.resize: unknown rule, got 'crop'; allowed: stretch, letterbox, mediapipe",
            "\"letterbox\"",
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
            "m.json: nms: counts must be at least 1, got 0 and 100",
            "\"max_detections\": 20",
            "\"max_detections\": 0"
        )
    }

    @Test
    fun `how the outputs are to be read`() {
        val coding = Regex("\"coding\": \"[^\"]*\",\\s*")
        assertSame(YoloSigmoidExp4, Contract.parse(raw.replace(coding, "")).coding)
        assertSame(SuppressedInFile, Contract.parse(suppressed.replace(coding, "")).coding)
        assertSame(YoloSigmoidExp4, Contract.parse(with("coding", "\"yolo-sigmoid-exp4/1\"")).coding)
        assertSame(SuppressedInFile, Contract.parse(with("coding", "\"detections/1\"", suppressed)).coding)
        for (other in listOf("center-distance/1", "yolo-sigmoid-exp4/2", "detections/1", "")) {
            assertEquals(
                "m.json: coding: unknown, got '$other'; allowed for raw: yolo-sigmoid-exp4/1; update the app",
                message(with("coding", "\"$other\""))
            )
        }
        assertEquals(
            "m.json: coding: unknown, got 'yolo-sigmoid-exp4/1'; allowed for detections: detections/1; update the app",
            message(with("coding", "\"yolo-sigmoid-exp4/1\"", suppressed))
        )
        assertEquals("m.json: coding: must be a string, got 4.0", message(with("coding", "4")))
    }

    @Test
    fun `a coding that is not known is named before what only it has`() {
        val contract = with("coding", "\"center-distance/1\"")
        assertEquals(
            "m.json: coding: unknown, got 'center-distance/1'; allowed for raw: yolo-sigmoid-exp4/1; update the app",
            message(contract.replace("objectness", "distances").replace("anchors", "points"))
        )
    }

    @Test
    fun `wrong outputs of the raw head`() {
        val kinds = "m.json: outputs: must be boxes, objectness, classes of each row of anchors, got ["
        val found =
            listOf("coarse", "fine").flatMap { row -> listOf("boxes", "objectness", "classes").map { row to it } }
        assertRefused(
            kinds + found.toMutableList().also { it[1] = "coarse" to "boxes" }.joinToString() + "]",
            "\"kind\": \"objectness\"",
            "\"kind\": \"boxes\""
        )
        assertRefused(
            kinds + found.toMutableList().also { it[0] = "other" to "boxes" }.joinToString() + "]",
            "\"row\": \"coarse\"",
            "\"row\": \"other\""
        )
        assertRefused(kinds + found.dropLast(1).joinToString() + "]", lastOutput(raw, "fine_classes"), "")
    }

    private fun lastOutput(contract: String, name: String) = contract.substring(
        contract.indexOf("    {\n      \"name\": \"$name\"") - 2,
        contract.indexOf("\n  ],\n  \"anchors\"")
    )

    @Test
    fun `the head that suppresses in the file`() {
        val contract = Contract.parse(suppressed)
        assertEquals(HeadKind.DETECTIONS, contract.head)
        assertEquals(20, contract.output("", OutputKind.SCORES).tensor.size)
        assertEquals(0.001f, contract.nms.lowestScore)
        assertEquals("as it was measured", 0.31f, contract.nms.scoreThreshold)
        val wanted = "(boxes, [1, 20, 4]), (classes, [1, 20]), (scores, [1, 20]), (count, [1])"
        val outputs = "m.json: outputs: must be [$wanted] of 20 detections and no anchors, got ["
        assertRefused(
            outputs + wanted.replace("count", "scores") + "]",
            "\"kind\": \"count\"",
            "\"kind\": \"scores\"",
            suppressed
        )
        assertRefused(
            outputs + wanted.replace("boxes, [1, 20, 4]", "boxes, [1, 4, 20]") + "]",
            "20,\n        4",
            "4,\n        20",
            suppressed
        )
        assertRefused(
            outputs + wanted.removeSuffix(", (count, [1])") + "]",
            lastOutput(suppressed, "num_detections"),
            "",
            suppressed
        )
        assertRefused("$outputs$wanted]", "\"anchors\": {}", "\"anchors\": {\"a\": [[1, 2]]}", suppressed)
    }
}
