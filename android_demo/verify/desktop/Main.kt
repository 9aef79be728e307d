package org.microyolo.desktop

import java.awt.image.BufferedImage
import java.io.File
import javax.imageio.ImageIO
import org.microyolo.core.Detector
import org.microyolo.core.ModelFile
import org.microyolo.core.RgbImage

/**
 * The app's code on a desktop JVM.
 *
 * detect MODEL RESULT.json PICTURE...: what is found in each picture, as pipeline.predict says it.
 * count JAR RESULT.jar: the same code, which counts the objects that it makes; see [Allocations].
 */
fun main(arguments: Array<String>) {
    val (command, path) = arguments
    if (command == "count") return countAllocations(File(path), File(arguments[2]))
    check(command == "detect") { "unknown command $command; allowed: detect, count" }
    val file = File(path)
    val data = file.readBytes()
    val model = ModelFile.open(path, data, File(ModelFile.contractPath(path)).takeIf { it.exists() }?.readText())
    Detector(model, DesktopRuntime(data)).use { detect(it, File(arguments[2]), arguments.drop(3)) }
}

private fun detect(detector: Detector, result: File, pictures: List<String>) {
    val lines =
        pictures.map { path ->
            val found = detector.detect(rgb(read(path))).detections
            val objects =
                (0 until found.size).map { i ->
                    val box = found.box(i).run { listOf(x0, y0, x1, y1) }
                    "{\"class\": ${found.classes[i]}, \"score\": ${found.scores[i]}, \"box_xyxy\": $box}"
                }
            objects.toString()
        }
    result.writeText("[\n${lines.joinToString(",\n")}\n]\n")
}

fun read(path: String): BufferedImage = ImageIO.read(File(path)) ?: error("$path: not a picture")

fun rgb(picture: BufferedImage): RgbImage {
    val image = RgbImage(picture.width, picture.height)
    for (y in 0 until picture.height) {
        image.setRow(y, picture.getRGB(0, y, picture.width, 1, null, 0, picture.width))
    }
    return image
}
