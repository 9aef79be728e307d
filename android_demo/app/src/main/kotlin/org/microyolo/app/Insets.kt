package org.microyolo.app

import android.os.Build
import android.view.View
import android.view.Window
import android.view.WindowInsets

/** What bars and cutouts of the screen cover, in pixels. */
class Covered(val left: Int, val top: Int, val right: Int, val bottom: Int)

/** Draws behind the system's bars, as Android does by itself from 15 on. */
@Suppress("DEPRECATION")
fun drawBehindBars(window: Window) {
    if (Build.VERSION.SDK_INT >= 30) {
        window.setDecorFitsSystemWindows(false)
    } else {
        window.decorView.systemUiVisibility =
            View.SYSTEM_UI_FLAG_LAYOUT_STABLE or
            View.SYSTEM_UI_FLAG_LAYOUT_FULLSCREEN or
            View.SYSTEM_UI_FLAG_LAYOUT_HIDE_NAVIGATION
    }
}

/** Calls [action] with what is covered, now and whenever that changes. */
fun View.onCovered(action: (Covered) -> Unit) {
    setOnApplyWindowInsetsListener { _, insets ->
        action(covered(insets))
        insets
    }
    requestApplyInsets()
}

private fun covered(insets: WindowInsets): Covered {
    if (Build.VERSION.SDK_INT >= 30) {
        val bars = insets.getInsets(WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout())
        return Covered(bars.left, bars.top, bars.right, bars.bottom)
    }
    @Suppress("DEPRECATION")
    return insets.run {
        Covered(systemWindowInsetLeft, systemWindowInsetTop, systemWindowInsetRight, systemWindowInsetBottom)
    }
}
