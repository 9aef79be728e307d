package org.microyolo.app

import android.net.Uri
import android.util.Size
import android.view.View
import java.io.FileNotFoundException
import java.io.InputStream
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config

/** Photos from the gallery. */
@RunWith(AppRunner::class)
class PhotoTest {
    private val phone = Phone()

    private fun assertShows(scene: Scene) {
        phone.until("the photo") { phone.objects.startsWith("${scene.photo.size} object") }
        // The panel, and so the picture, has another height once there are figures.
        phone.settle()
        val wanted = scene.onScreen(scene.photo, phone.view(R.id.overlay), fill = false, mirrored = false)
        assertTrue("objects", wanted.isNotEmpty())
        assertShown("photo", wanted, phone)
        assertEquals(View.VISIBLE, phone.view<View>(R.id.photo).visibility)
    }

    @Test
    fun `one after the other, and back to the camera`() {
        phone.camera("0", false, 90, Size(640, 480))
        phone.grant()
        phone.start()
        for (scene in Scene.all) {
            phone.choose(scene.uri(phone))
            assertTrue("the camera is off", CameraShadow.open.isEmpty() && ReaderShadow.open.isEmpty())
            assertShows(scene)
        }
        phone.click(R.id.camera_button)
        phone.until("the camera") { CameraShadow.open.isNotEmpty() }
        assertEquals(View.GONE, phone.view<View>(R.id.photo).visibility)
        assertEquals(phone.app.getString(R.string.no_objects), phone.objects)
        phone.end()
    }

    /** Not under 7.0, of which Robolectric has no graphics: a picture that its stand-in turns has no pixels. */
    @Test
    @Config(sdk = [30, 35])
    fun `turned and mirrored as EXIF says`() {
        for (scene in Scene.turned) {
            phone.start().choose(scene.uri(phone))
            assertShows(scene)
            phone.end()
        }
    }

    @Test
    fun `what is no picture or cannot be read is said, and the camera comes back`() {
        phone.camera("0", false, 90, Size(640, 480))
        phone.grant()
        phone.start()
        val failures = mapOf<String, () -> InputStream>(
            "not a picture" to { "text".byteInputStream() },
            "gone" to { throw FileNotFoundException("gone") },
            "not allowed" to { throw SecurityException("not allowed") }
        )
        for ((why, open) in failures) {
            val uri = Uri.parse("content://gallery/$why")
            shadowOf(phone.app.contentResolver).registerInputStreamSupplier(uri) { open() }
            phone.choose(uri)
            val said = phone.app.getString(R.string.photo_unreadable, why)
            phone.until(said) { phone.text(R.id.status) == said }
            phone.until("the camera") { CameraShadow.open.isNotEmpty() }
        }
        phone.end()
    }

    @Test
    fun `it outlives a rotation without being searched again`() {
        phone.start().choose(Scene.all[0].uri(phone))
        assertShows(Scene.all[0])
        val runs = phone.app.runtimes.runs.get()
        for (qualifiers in listOf("w891dp-h411dp-land", "w411dp-h891dp-port")) {
            phone.turn(qualifiers)
            assertShows(Scene.all[0])
        }
        assertEquals(runs, phone.app.runtimes.runs.get())
        assertEquals(1, phone.app.runtimes.opened.get())
        phone.end()
    }

    @Test
    fun `it comes back after the process died`() {
        phone.start().choose(Scene.all[1].uri(phone))
        assertShows(Scene.all[1])
        phone.die()
        assertShows(Scene.all[1])
        phone.end()
    }
}
