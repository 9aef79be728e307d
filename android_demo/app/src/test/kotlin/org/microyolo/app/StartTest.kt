package org.microyolo.app

import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

@RunWith(AppRunner::class)
@Config(sdk = [24, 30, 35])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class StartTest {
    @Test
    fun starts() {
        val c = Robolectric.buildActivity(MainActivity::class.java).setup()
        println(c.get().findViewById<android.widget.Button>(R.id.camera_button).text)
        assertEquals("Camera", c.get().findViewById<android.widget.Button>(R.id.camera_button).text)
        c.pause().stop().destroy()
    }
}
