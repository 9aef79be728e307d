package org.microyolo.app

import android.content.Intent
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.util.Size
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Shadows.shadowOf

/** What the user sees first, and what the permission has to do with it. */
@RunWith(AppRunner::class)
class StartTest {
    private val phone = Phone()

    private fun string(id: Int) = phone.app.getString(id)

    @Test
    fun `without the permission it asks once, and says why`() {
        phone.camera("0", false, 90, Size(640, 480))
        phone.deny()
        phone.mayAsk(true)
        phone.start()
        phone.until("the model") { phone.text(R.id.status).isEmpty() }
        // Answered by no.
        val asked = shadowOf(phone.activity).lastRequestedPermission
        assertEquals(listOf("android.permission.CAMERA"), asked.requestedPermissions.toList())
        phone.activity.onRequestPermissionsResult(asked.requestCode, asked.requestedPermissions, intArrayOf(-1))
        phone.settle()
        assertEquals(string(R.string.camera_why), phone.text(R.id.notice_text))
        assertEquals(string(R.string.allow_camera), phone.text(R.id.notice_button))
        phone.click(R.id.notice_button)
        phone.grant()
        phone.activity.onRequestPermissionsResult(asked.requestCode, asked.requestedPermissions, intArrayOf(0))
        phone.until("the camera") { CameraShadow.open.isNotEmpty() }
        assertEquals("", phone.text(R.id.notice_text))
        phone.end()
    }

    @Test
    fun `denied for good it shows the way to the settings`() {
        phone.camera("0", false, 90, Size(640, 480))
        phone.deny()
        phone.mayAsk(false)
        phone.start()
        val asked = shadowOf(phone.activity).lastRequestedPermission
        phone.activity.onRequestPermissionsResult(asked.requestCode, asked.requestedPermissions, intArrayOf(-1))
        phone.settle()
        assertEquals(string(R.string.camera_denied), phone.text(R.id.notice_text))
        phone.click(R.id.notice_button)
        val opened: Intent? = shadowOf(phone.activity).nextStartedActivity.let {
            if (it.action == ACTION_APPLICATION_DETAILS_SETTINGS) it else shadowOf(phone.activity).nextStartedActivity
        }
        assertNotNull(opened)
        assertEquals(ACTION_APPLICATION_DETAILS_SETTINGS, opened!!.action)
        assertEquals("package:org.microyolo.app", opened.dataString)
        phone.end()
    }

    @Test
    fun `granted the camera is on`() {
        phone.camera("0", false, 90, Size(640, 480))
        phone.grant()
        phone.start()
        phone.until("the camera") { CaptureShadow.streaming.get() == 1 }
        assertNull(shadowOf(phone.activity).lastRequestedPermission)
        assertEquals("", phone.text(R.id.notice_text))
        phone.end()
    }

    @Test
    fun `a device without a camera still takes photos`() {
        phone.grant()
        phone.start()
        assertEquals(string(R.string.no_camera), phone.text(R.id.notice_text))
        assertEquals(string(R.string.photo), phone.text(R.id.notice_button))
        phone.click(R.id.notice_button)
        assertEquals(Intent.ACTION_OPEN_DOCUMENT, shadowOf(phone.activity).nextStartedActivity.action)
        phone.end()
    }
}
