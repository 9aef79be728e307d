package org.microyolo.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertSame
import org.junit.Assert.assertTrue
import org.junit.Test

class ScreenTest {
    private class Recorder : Screen.Listener {
        var changes = 0
        var cameras = 0

        override fun onScreenChanged() {
            changes++
        }

        override fun onOutcome() {
            changes++
        }

        override fun onCameraWanted() {
            cameras++
        }
    }

    private val listener = Recorder()
    private val screen = Screen<String>().also { it.listener = listener }
    private val portrait = CameraView(Size(640, 480), Orientation(90, 0, false))
    private val landscape = CameraView(Size(640, 480), Orientation(90, 90, false))

    private fun outcome(width: Int, height: Int) =
        Outcome(Detections.NONE, listOf(), Size(width, height), Times(0.0, 0.0, 0.0), 0.0, "m", 1, 2)

    @Test
    fun `what is found in frames of the camera as it is held`() {
        val upright = outcome(480, 640)
        screen.onFrame(upright)
        assertNull("no camera is on", screen.outcome)
        screen.onCamera(portrait)
        screen.onFrame(upright)
        assertSame(upright, screen.outcome)
        screen.onFrame(outcome(640, 480))
        assertSame("one from before it turned", upright, screen.outcome)
        screen.onCamera(portrait.copy())
        assertSame("nothing changed", upright, screen.outcome)
        screen.onCamera(landscape)
        assertNull(screen.outcome)
        screen.onCamera(null)
        screen.onFrame(outcome(640, 480))
        assertNull("one from before it was off", screen.outcome)
    }

    @Test
    fun `a photo in place of the camera`() {
        screen.onCamera(portrait)
        screen.onFrame(outcome(480, 640))
        screen.onPhotoChosen()
        assertTrue(screen.isPhoto)
        assertNull("the camera's", screen.outcome)
        screen.onFrame(outcome(480, 640))
        assertNull("a frame that was under way", screen.outcome)
        val found = outcome(30, 20)
        screen.onPhoto("a", found)
        screen.onCamera(null)
        assertEquals("a" to found, screen.photo to screen.outcome)
        screen.onPhotoChosen()
        assertEquals("another one was chosen", "a" to found, screen.photo to screen.outcome)
        screen.onPhotoLeft()
        assertFalse(screen.isPhoto)
        assertEquals(null to null, screen.photo to screen.outcome)
        screen.onPhoto("a", found)
        assertNull("one that was under way", screen.photo)
    }

    @Test
    fun `a photo that cannot be used`() {
        screen.onPhotoFailed("old")
        assertEquals("nobody waits for it any more", "" to 0, screen.status to listener.cameras)
        screen.onPhotoChosen()
        screen.onPhotoFailed("broken")
        assertEquals("broken" to 1, screen.status to listener.cameras)
        assertFalse(screen.isPhoto)
    }

    @Test
    fun `a notice stays until there is a picture`() {
        screen.onCamera(portrait)
        screen.onFrame(outcome(480, 640))
        screen.onNoCamera(Notice.Lost("in use"))
        assertEquals(Notice.Lost("in use"), screen.notice)
        assertNull(screen.camera)
        assertNull(screen.outcome)
        screen.onCamera(null)
        assertEquals(Notice.Lost("in use"), screen.notice)
        screen.onCamera(portrait)
        assertNull(screen.notice)
        screen.onNoCamera(Notice.Denied)
        screen.onPhotoChosen()
        assertNull(screen.notice)
    }

    @Test
    fun `a model that fails takes what it found with it`() {
        screen.onCamera(portrait)
        screen.onFrame(outcome(480, 640))
        screen.onModelFailed("m.tflite: damaged")
        assertEquals("m.tflite: damaged" to null, screen.status to screen.outcome)
        assertEquals(portrait, screen.camera)
    }

    @Test
    fun `a model brings the score above which objects are shown`() {
        assertNull("no model yet", screen.threshold)
        screen.onModel(0.42f, "on the CPU")
        assertEquals(0.42f to "on the CPU", screen.threshold to screen.status)
        screen.onModel(0.3f, "")
        screen.onModelFailed("m.tflite: damaged")
        assertEquals("that of the last one that could be used", 0.3f, screen.threshold)
    }

    @Test
    fun `the activity that shows it goes and another comes`() {
        screen.onStatus("Loading m")
        screen.onPhotoChosen()
        val before = listener.changes
        screen.listener = null
        screen.onStatus("on the CPU")
        screen.onPhoto("a", outcome(30, 20))
        assertEquals("the old one is not told", before, listener.changes)
        val next = Recorder().also { screen.listener = it }
        assertEquals("on the CPU" to "a", screen.status to screen.photo)
        screen.onPhotoFailed("gone")
        assertTrue(next.changes > 0)
        assertEquals("the new one is", 1, next.cameras)
    }

    @Test
    fun `where the searched picture lies in the view`() {
        val view = Size(240, 640)
        assertNull("nothing was found yet", screen.toView(view, ScaleMode.FIT))
        screen.onCamera(portrait)
        screen.onFrame(outcome(480, 640))
        val whole = portrait.orientation.toView(Size(480, 640), view, ScaleMode.FIT)
        assertEquals(whole, screen.toView(view, ScaleMode.FIT))
        assertEquals(0.5, whole.a, 0.0)
        assertEquals(1.0, screen.toView(view, ScaleMode.CROP)!!.a, 0.0)
        assertNull("not laid out yet", screen.toView(Size(0, 640), ScaleMode.FIT))
        screen.onPhotoChosen()
        screen.onPhoto("a", outcome(480, 640))
        screen.onCamera(null)
        assertEquals("a photo is always whole", 0.5, screen.toView(view, ScaleMode.CROP)!!.a, 0.0)
    }
}
