package org.microyolo.desktop

import java.awt.BasicStroke
import java.awt.Color
import java.awt.Font
import java.awt.Graphics2D
import java.awt.RenderingHints
import java.awt.geom.AffineTransform
import java.awt.geom.Rectangle2D
import java.awt.image.BufferedImage
import org.microyolo.core.Affine
import org.microyolo.core.Detector
import org.microyolo.core.Orientation
import org.microyolo.core.Overlay
import org.microyolo.core.Plane
import org.microyolo.core.ScaleMode
import org.microyolo.core.Size
import org.microyolo.core.TextMeasure
import org.microyolo.core.YuvConverter

/**
 * What the app shows when its camera sees [scene], for the four rotations of the screen, whole (above) and filling the
 * screen (below), and at the right for a front camera. The picture is drawn as the system would, by the transform of the
 * preview; the boxes are found in the camera's frame. So the two only fit if all of :core's geometry is right.
 */
class Screens(private val detector: Detector, private val scene: BufferedImage) {
    private val sheet = BufferedImage(5 * CELL, 2 * CELL, BufferedImage.TYPE_INT_RGB)
    private val seen = Size(scene.width, scene.height)

    fun draw(): BufferedImage {
        for ((row, mode) in ScaleMode.entries.withIndex()) {
            for (quarter in 0..3) screen(Orientation(90, 90 * quarter, false), mode, quarter, row)
            screen(Orientation(270, 0, true), mode, 4, row)
        }
        return sheet
    }

    private fun screen(orientation: Orientation, mode: ScaleMode, column: Int, row: Int) {
        val view = Size(360, 640).turned(orientation.display)
        val g = sheet.createGraphics()
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON)
        g.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR)
        g.color = Color.DARK_GRAY
        g.fillRect(column * CELL, row * CELL, CELL, CELL)
        g.translate(column * CELL + (CELL - view.width) / 2, row * CELL + (CELL - view.height) / 2)
        g.clip(Rectangle2D.Float(0f, 0f, view.width.toFloat(), view.height.toFloat()))
        g.color = Color.BLACK
        g.fillRect(0, 0, view.width, view.height)
        val frame = frame(orientation)
        g.drawImage(frame, preview(orientation, Size(frame.width, frame.height), view, mode), null)
        boxes(g, orientation, frame, view, mode)
        g.dispose()
    }

    /** The sensor's picture of the scene: the scene turned back. */
    private fun frame(orientation: Orientation): BufferedImage {
        val size = seen.turned(orientation.upright)
        val back = Affine.turn(seen.width.toDouble(), seen.height.toDouble(), -orientation.upright)
        val frame = BufferedImage(size.width, size.height, BufferedImage.TYPE_INT_RGB)
        frame.createGraphics().apply { drawImage(scene, transform(back), null) }.dispose()
        return frame
    }

    /** What Android does with a frame in a TextureView, and then the app's transform. */
    private fun preview(orientation: Orientation, frame: Size, view: Size, mode: ScaleMode): AffineTransform {
        val natural = frame.turned(orientation.sensor)
        val mirror = Affine(-1.0, 0.0, natural.width.toDouble(), 0.0, 1.0, 0.0)
        return transform(
            Affine
                .turn(frame.width.toDouble(), frame.height.toDouble(), orientation.sensor)
                .then(if (orientation.front) mirror else Affine.IDENTITY)
                .then(Affine.scale(view.width.toDouble() / natural.width, view.height.toDouble() / natural.height))
                .then(orientation.textureTransform(frame, view, mode))
        )
    }

    private fun boxes(g: Graphics2D, orientation: Orientation, frame: BufferedImage, view: Size, mode: ScaleMode) {
        val (luma, blue, red) = planes(frame)
        val upright = YuvConverter().upright(frame.width, frame.height, luma, blue, red, orientation.upright)
        val found = detector.detect(upright).detections
        g.font = Font(Font.SANS_SERIF, Font.PLAIN, 14)
        val metrics = g.fontMetrics
        val measure =
            object : TextMeasure {
                override val height = metrics.height.toFloat()

                override fun width(text: String) = metrics.stringWidth(text) + 6f
            }
        val toView = orientation.toView(Size(upright.width, upright.height), view, mode)
        for (mark in Overlay.marks(found, detector.model.contract.labels, toView, view, measure)) {
            g.color = Color(mark.colour)
            g.stroke = BasicStroke(3f)
            g.draw(mark.box.run { Rectangle2D.Float(x0, y0, width, height) })
            g.fill(mark.label.run { Rectangle2D.Float(x0, y0, width, height) })
            g.color = Color(mark.textColour)
            g.drawString(mark.text, mark.label.x0 + 3f, mark.label.y1 - metrics.descent)
        }
    }

    /** The frame as a camera gives it: luma, and blue and red differences of every second pixel, by turns in one array. */
    private fun planes(frame: BufferedImage): List<Plane> {
        val luma = ByteArray(frame.width * frame.height)
        val stride = (frame.width + 1) / 2 * 2
        val chroma = List(2) { ByteArray(stride * ((frame.height + 1) / 2)) }
        for (y in 0 until frame.height) {
            for (x in 0 until frame.width) {
                val colour = Color(frame.getRGB(x, y))
                val light = 0.299 * colour.red + 0.587 * colour.green + 0.114 * colour.blue
                luma[y * frame.width + x] = Math.round(light).toInt().toByte()
                val at = y / 2 * stride + x / 2 * 2
                chroma[0][at] = (128 + (colour.blue - light) / 1.772).coerceIn(0.0, 255.0).toInt().toByte()
                chroma[1][at] = (128 + (colour.red - light) / 1.402).coerceIn(0.0, 255.0).toInt().toByte()
            }
        }
        return listOf(Plane(luma, frame.width, 1), Plane(chroma[0], stride, 2), Plane(chroma[1], stride, 2))
    }

    private fun transform(affine: Affine) = affine.run { AffineTransform(a, d, b, e, c, f) }

    private companion object {
        const val CELL = 660
    }
}
