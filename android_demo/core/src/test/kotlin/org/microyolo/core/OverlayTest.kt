package org.microyolo.core

import kotlin.math.pow
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class OverlayTest {
    private val measure =
        object : TextMeasure {
            override val height = 10f

            override fun width(text: String) = 5f * text.length
        }

    private val overlay = Overlay(measure)

    private fun marks(vararg boxes: Box): List<Mark> {
        val corners = boxes.flatMap { listOf(it.x0, it.y0, it.x1, it.y1) }.toFloatArray()
        val found = Detections(corners, FloatArray(boxes.size) { 0.984f - it / 10f }, IntArray(boxes.size) { it % 2 })
        overlay.place(found, listOf("ace", "ten"), Affine.scale(2.0, 2.0), 100, 100)
        return List(overlay.size) { overlay[it] }
    }

    @Test
    fun `a label lies above its box`() {
        val mark = marks(Box(10f, 20f, 30f, 40f)).single()
        assertEquals(Box(20f, 40f, 60f, 80f), mark.box)
        assertEquals("ace 98 %", mark.text)
        assertEquals(Box(20f, 30f, 60f, 40f), mark.label)
    }

    @Test
    fun `a label stays in the view`() {
        assertEquals(Box(60f, 0f, 100f, 10f), marks(Box(45f, 0f, 60f, 40f)).single().label)
        assertEquals(Box(0f, 0f, 40f, 10f), marks(Box(-5f, -5f, 20f, 20f)).single().label)
    }

    @Test
    fun `boxes outside of the view are not drawn, the best comes last`() {
        val marks = marks(Box(0f, 0f, 9f, 9f), Box(60f, 0f, 70f, 9f), Box(1f, 1f, 8f, 8f))
        assertEquals(listOf("ace 78 %", "ace 98 %"), marks.map { it.text })
        assertEquals(emptyList<Mark>(), marks())
    }

    @Test
    fun `text is as readable on every colour as WCAG asks for`() {
        for (category in 0..6) {
            val (text, back) = luminance(Overlay.textColour(category)) to luminance(Overlay.colour(category))
            val contrast = (maxOf(text, back) + 0.05) / (minOf(text, back) + 0.05)
            assertTrue("colour $category: $contrast", contrast >= 4.5)
        }
    }

    private fun luminance(colour: Int) = listOf(0.2126 to 16, 0.7152 to 8, 0.0722 to 0).sumOf { (share, shift) ->
        val value = (colour shr shift and 255) / 255.0
        share * if (value <= 0.04045) value / 12.92 else ((value + 0.055) / 1.055).pow(2.4)
    }

    @Test
    fun `classes have colours of their own, with readable text`() {
        assertNotEquals(Overlay.colour(0), Overlay.colour(1))
        assertEquals(Overlay.colour(1), Overlay.colour(8))
        val (ten, ace) = marks(Box(0f, 0f, 9f, 9f), Box(1f, 1f, 8f, 8f))
        assertEquals(0xFF000000.toInt(), ace.textColour)
        assertEquals(Overlay.colour(1), ten.colour)
    }
}
