package org.microyolo.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class OrientationTest {
    private fun cases() = Golden.cases("orientation.json").map { case ->
        val orientation = Orientation(case.int("sensor"), case.int("display"), case["front"] as Boolean)
        Triple(case, orientation, ScaleMode.valueOf(case.text("mode")))
    }

    private fun size(case: Map<String, Any?>, key: String) =
        case.ints(key).let { (width, height) -> Size(width, height) }

    @Test
    fun `a pixel of a frame is seen where Python's turned array has it`() {
        assertEquals(64, cases().size)
        for ((case, orientation, mode) in cases()) {
            assertEquals("$orientation", case.int("degrees"), orientation.upright)
            val (x, y) = case.ints("upright")
            val upright = size(case, "frame").turned(orientation.upright)
            val pixel = Box(x.toFloat(), y.toFloat(), x + 1f, y + 1f)
            val seen = orientation.toView(upright, size(case, "view"), mode).map(pixel)
            assertArrayEquals("$orientation $mode", case.floats("seen"), corners(seen), 1e-4f)
        }
    }

    @Test
    fun `the preview shows that pixel at the same place`() {
        for ((case, orientation, mode) in cases()) {
            val frame = size(case, "frame")
            val view = size(case, "view")
            val (x, y) = case.ints("pixel")
            // What the system draws into a TextureView: upright on the device held normally, mirrored, stretched.
            val natural = frame.turned(orientation.sensor)
            val turned = Affine.turn(frame.width.toDouble(), frame.height.toDouble(), orientation.sensor)
            val mirror = if (orientation.front) {
                Affine(
                    -1.0,
                    0.0,
                    natural.width.toDouble(),
                    0.0,
                    1.0,
                    0.0
                )
            } else {
                Affine.IDENTITY
            }
            val stretch = Affine.scale(view.width.toDouble() / natural.width, view.height.toDouble() / natural.height)
            val drawn = turned.then(mirror).then(stretch).then(orientation.textureTransform(frame, view, mode))
            val seen = drawn.map(Box(x.toFloat(), y.toFloat(), x + 1f, y + 1f))
            assertArrayEquals("$orientation $mode", case.floats("seen"), corners(seen), 1e-3f)
        }
    }

    @Test
    fun `there and back again`() {
        for ((case, orientation, mode) in cases()) {
            val upright = size(case, "frame").turned(orientation.upright)
            val there = orientation.toView(upright, size(case, "view"), mode)
            val box = Box(0.25f, 1f, 3.5f, 4.75f)
            assertArrayEquals("$orientation", corners(box), corners(there.inverse().map(there.map(box))), 1e-4f)
            val texture = orientation.textureTransform(size(case, "frame"), size(case, "view"), mode)
            assertArrayEquals("$orientation", corners(box), corners(texture.then(texture.inverse()).map(box)), 1e-4f)
        }
    }

    @Test
    fun `fit shows all of the picture, crop fills the view, neither stretches`() {
        val view = Size(300, 200)
        val picture = Size(40, 80)
        val whole = Box(0f, 0f, 40f, 80f)
        assertEquals(Box(100f, 0f, 200f, 200f), Orientation.place(picture, view, ScaleMode.FIT).map(whole))
        assertEquals(Box(0f, -200f, 300f, 400f), Orientation.place(picture, view, ScaleMode.CROP).map(whole))
    }

    @Test
    fun `odd angles`() = assertMessage("rotation: must be a multiple of 90, got 45") { Affine.turn(4.0, 3.0, 45) }

    @Test
    fun `camera streams of one shape`() {
        val previews = listOf(Size(3840, 2160), Size(1920, 1080), Size(1440, 1080), Size(640, 480))
        val frames = listOf(Size(1280, 720), Size(640, 480), Size(352, 288))
        assertEquals(CameraSizes(Size(1440, 1080), Size(640, 480)), CameraSizes.choose(previews, frames))
        assertEquals(
            CameraSizes(Size(1920, 1080), Size(1280, 720)),
            CameraSizes.choose(previews.take(2), frames)
        )
        assertEquals(
            CameraSizes(Size(4000, 4000), Size(352, 288)),
            CameraSizes.choose(listOf(Size(4000, 4000)), frames.takeLast(1))
        )
        assertMessage("camera: offers no sizes, got 0 for the screen and 3 for frames") {
            CameraSizes.choose(emptyList(), frames)
        }
    }

    private fun corners(box: Box) = floatArrayOf(box.x0, box.y0, box.x1, box.y1)
}
