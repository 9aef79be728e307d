package org.microyolo.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows

/** Runs [action], which must throw a [ModelException] of exactly this one-line message. */
fun assertMessage(message: String, action: () -> Unit) =
    assertEquals(message, assertThrows(ModelException::class.java) { action() }.message)

/** The rectangle that [box] becomes. */
fun Affine.map(box: Box) = Box(0f, 0f, 0f, 0f).also { map(floatArrayOf(box.x0, box.y0, box.x1, box.y1), 0, it) }

fun Box.iou(other: Box) =
    overlap(floatArrayOf(x0, y0, x1, y1), 0, floatArrayOf(other.x0, other.y0, other.x1, other.y1), 0)

fun assertFound(expected: Map<*, *>, found: Detections, what: String) {
    assertEquals(what, expected.ints("classes"), found.classes.toList())
    assertArrayEquals(what, expected.floats("scores"), found.scores, 1e-6f)
    assertArrayEquals(what, expected.floats("boxes"), found.boxes, 1e-3f)
}
