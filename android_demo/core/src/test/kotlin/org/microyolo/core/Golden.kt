package org.microyolo.core

import java.io.File
import java.security.MessageDigest
import java.util.Base64

/** The files of tests/golden, written by Python, and what their cases are made of. */
object Golden {
    val folder = File(System.getProperty("golden") ?: error("-Dgolden=PATH of tests/golden is missing"))

    /** The shipped model, beside its contract. */
    val model = File(System.getProperty("model") ?: error("-Dmodel=PATH of the shipped .tflite is missing"))

    /** The folder of the Gradle project. */
    val project: File =
        generateSequence(model.absoluteFile) { it.parentFile }.first { it.resolve("settings.gradle.kts").exists() }

    fun shippedContract() = File(ModelFile.contractPath(model.path)).readText()

    /** The text of a contract that Python wrote. */
    fun contract(head: HeadKind) = folder.resolve("contract_${head.label}.json").readText()

    @Suppress("UNCHECKED_CAST")
    fun cases(name: String) = Json.parse(folder.resolve(name).readText()) as List<Map<String, Any?>>

    fun values(name: String) = Json.parse(folder.resolve(name).readText()) as Map<*, *>

    /** The same as `picture` in tests/golden/write.py. */
    fun picture(width: Int, height: Int, seed: Int): RgbImage {
        val image = RgbImage(width, height)
        var at = 0
        for (y in 0 until height) {
            for (x in 0 until width) {
                val common = x * x * 3 + y * y * 5 + x * y * 7 + seed * 17
                for (channel in 0 until 3) image.pixels[at++] = (common + channel * 101 ushr 2).toByte()
            }
        }
        return image
    }
}

fun Map<*, *>.int(key: String) = (getValue(key) as Double).toInt()

fun Map<*, *>.float(key: String) = (getValue(key) as Double).toFloat()

fun Map<*, *>.text(key: String) = getValue(key) as String

fun Map<*, *>.floats(key: String) = flat(getValue(key)).map { it.toFloat() }.toFloatArray()

fun Map<*, *>.ints(key: String) = flat(getValue(key)).map { it.toInt() }

private fun Map<*, *>.getValue(key: String) = this[key] ?: error("no $key in the golden file")

private fun flat(value: Any?): List<Double> = if (value is List<*>) value.flatMap(::flat) else listOf(value as Double)

/** The bytes of each of the outputs. */
fun Map<*, *>.outputs() = (getValue("outputs") as List<*>).map { Base64.getDecoder().decode(it as String) }

/** JSON text of a parsed [value]. */
fun write(value: Any?): String = when (value) {
    is Map<*, *> -> value.entries.joinToString(",", "{", "}") { "${write(it.key)}:${write(it.value)}" }
    is List<*> -> value.joinToString(",", "[", "]", transform = ::write)
    is String -> "\"$value\""
    else -> value.toString()
}

/** A model that only has the first bytes of a .tflite, with the [contract] made out to it. */
fun fakeModel(path: String, contract: String): ModelFile {
    val data = "----TFL3".toByteArray()
    val digest = MessageDigest.getInstance("SHA-256").digest(data).joinToString("") { "%02x".format(it) }
    val own = contract.replace(Regex("\"model_sha256\": \"[0-9a-f]+\""), "\"model_sha256\": \"$digest\"")
    return ModelFile.open(path, data, own)
}
