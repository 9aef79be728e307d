package org.microyolo.app

import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import org.microyolo.core.ModelException
import org.microyolo.core.ModelFile

/** The models among the app's assets: [list] names those of a folder, [open] reads one. */
class Models(private val list: (String) -> Array<String>?, private val open: (String) -> InputStream) {
    /** Paths of all .tflite files, in order of their names. */
    fun paths(): List<String> =
        list(FOLDER).orEmpty().filter { it.endsWith(ModelFile.SUFFIX) }.sorted().map { "$FOLDER/$it" }

    /** The model at [path] and its bytes; [ModelException] says which file cannot be used and why. */
    fun open(path: String): Pair<ModelFile, ByteArray> {
        val data = bytes(path) ?: throw ModelException("$path: is missing")
        val contract = bytes(ModelFile.contractPath(path))?.toString(Charsets.UTF_8)
        return ModelFile.open(path, data, contract) to data
    }

    private fun bytes(path: String): ByteArray? = try {
        open.invoke(path).use { it.readBytes() }
    } catch (_: FileNotFoundException) {
        null
    } catch (error: IOException) {
        throw ModelException("$path: cannot be read (${error.message})")
    }

    private companion object {
        const val FOLDER = "models"
    }
}
