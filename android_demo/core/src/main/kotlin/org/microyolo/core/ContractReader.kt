package org.microyolo.core

/** Typed access to a JSON object; [where] is its place in the contract, for messages. */
internal class Fields(value: Any?, private val where: String) {
    private val map = value as? Map<*, *> ?: fail("${where.ifEmpty { "contract" }}: must be an object, got $value")

    fun has(key: String) = map[key] != null

    fun text(key: String) = map[key] as? String ?: wrong(key, "a string")

    fun number(key: String) = map[key] as? Double ?: wrong(key, "a number")

    fun integer(key: String): Int {
        val number = number(key)
        return if (number == number.toInt().toDouble()) number.toInt() else wrong(key, "an integer")
    }

    fun list(key: String) = map[key] as? List<*> ?: wrong(key, "a list")

    fun fields(key: String) = Fields(map[key] ?: wrong(key, "an object"), place(key))

    fun objects(key: String) = list(key).mapIndexed { i, item -> Fields(item, "${place(key)}[$i]") }

    fun keys() = map.keys.map { it.toString() }

    fun place(key: String) = if (where.isEmpty()) key else "$where.$key"

    private fun wrong(key: String, wanted: String): Nothing =
        if (key in map) fail("${place(key)}: must be $wanted, got ${map[key]}") else fail("${place(key)} missing")
}

/** Keys that it does not know are skipped: what a newer writer of this format adds is optional. */
internal class ContractReader(private val fields: Fields) {
    fun read(): Contract {
        // First: what else is in the contract may only make sense to who knows its coding.
        val coding = coding()
        return Contract(
            name = fields.text("name"),
            arch = fields.text("arch"),
            variant = fields.text("variant"),
            input = input(fields.fields("input")),
            outputs = fields.objects("outputs").map(::output),
            anchors = fields.fields("anchors").let { anchors -> anchors.keys().associateWith { sizes(anchors, it) } },
            labels = labels(),
            modelSha256 = fields.text("model_sha256"),
            nms = if (fields.has("nms")) nms(fields.fields("nms")) else Nms(),
            coding = coding
        )
    }

    private fun coding(): Coding {
        val label = if (fields.has("head")) fields.text("head") else HeadKind.RAW.label
        val head =
            HeadKind.entries.find { it.label == label }
                ?: fail("head: unknown, got '$label'; allowed: ${HeadKind.entries.joinToString { it.label }}")
        return Coding.of(head, if (fields.has("coding")) fields.text("coding") else null)
    }

    private fun labels(): List<String> {
        val labels = fields.list("labels")
        if (labels.any { it !is String }) fail("labels: must be a list of strings, got $labels")
        return labels.map { it.toString() }
    }

    private fun input(value: Fields): Input {
        val rule = if (value.has("resize")) value.text("resize") else ResizeRule.STRETCH.label
        return Input(
            tensor(value),
            ResizeRule.entries.find { it.label == rule }
                ?: fail(
                    "input.resize: unknown rule, got '$rule'; allowed: ${ResizeRule.entries.joinToString { it.label }}"
                ),
            if (value.has("fill")) value.integer("fill") else LETTERBOX_FILL
        )
    }

    private fun output(value: Fields): Output {
        val kind = value.text("kind")
        return Output(
            tensor(value),
            OutputKind.entries.find { it.label == kind }
                ?: fail(
                    "${value.place("kind")}: unknown, got '$kind'; allowed: " +
                        OutputKind.entries.joinToString { it.label }
                ),
            value.text("row"),
            value.integer("stride")
        )
    }

    private fun tensor(value: Fields): TensorSpec {
        val name = value.text("name")
        val dtype = value.text("dtype")
        return TensorSpec(
            name = name,
            index = value.integer("index"),
            shape = integers(value, "shape"),
            dtype =
                DType.entries.find { it.label == dtype }
                    ?: fail("$name.dtype: unknown, got '$dtype'; allowed: ${DType.entries.joinToString { it.label }}"),
            scale = value.number("scale").toFloat(),
            zeroPoint = value.integer("zero_point")
        )
    }

    private fun integers(value: Fields, key: String) =
        value.list(key).map { (it as? Double)?.toInt() ?: fail("${value.place(key)}: must be integers, got $it") }

    private fun sizes(anchors: Fields, row: String): FloatArray {
        val pairs = anchors.list(row).map { (it as? List<*>)?.map { side -> side as? Double } }
        if (pairs.any { it == null || it.size != 2 || null in it }) {
            fail("anchors.$row: must be pairs of numbers, got ${anchors.list(row)}")
        }
        return pairs.flatMap { it.orEmpty() }.map { it!!.toFloat() }.toFloatArray()
    }

    private fun nms(value: Fields): Nms {
        val usual = Nms()

        fun number(key: String, default: Float) = if (value.has(key)) value.number(key).toFloat() else default

        fun count(key: String, default: Int) = if (value.has(key)) value.integer(key) else default
        return Nms(
            number("score_threshold", usual.scoreThreshold),
            number("iou_threshold", usual.iouThreshold),
            count("max_detections", usual.maxDetections),
            count("pre_nms", usual.preNms),
            number("lowest_score", usual.lowestScore)
        )
    }
}

internal fun fail(message: String): Nothing = throw ModelException(message)

/** Throws [ModelException] unless the parts of [contract] fit one another. */
internal fun checkContract(contract: Contract) {
    val shape = contract.input.tensor.shape
    if (shape.size != 4 || shape[0] != 1 || shape[3] != 3 || shape.min() < 1) {
        fail("input.shape: must be 1, height, width, 3, got $shape")
    }
    if (contract.labels.isEmpty()) fail("labels: must not be empty")
    for (tensor in listOf(contract.input.tensor) + contract.outputs.map { it.tensor }) {
        if (tensor.dtype != DType.FLOAT32 && !(tensor.scale.isFinite() && tensor.scale > 0)) {
            fail("${tensor.name}.scale: must be positive for ${tensor.dtype.label}, got ${tensor.scale}")
        }
    }
    val nms = contract.nms
    val thresholds = listOf(nms.scoreThreshold, nms.iouThreshold, nms.lowestScore)
    if (!thresholds.all { it in 0f..1f }) fail("nms: thresholds must be in 0..1, got ${thresholds.joinToString()}")
    if (nms.maxDetections < 1 || nms.preNms < 1) {
        fail("nms: counts must be at least 1, got ${nms.maxDetections} and ${nms.preNms}")
    }
    contract.coding.check(contract)
}
