package org.microyolo.app

import android.content.SharedPreferences
import org.microyolo.core.ScaleMode

/** What the user chose, kept between starts. */
class Settings(private val kept: SharedPreferences) {
    var model: String
        get() = kept.getString("model", "").orEmpty()
        set(value) = kept.edit().putString("model", value).apply()

    var threads: Int
        get() = kept.getInt("threads", 2)
        set(value) = kept.edit().putInt("threads", value).apply()

    var gpu: Boolean
        get() = kept.getBoolean("gpu", false)
        set(value) = kept.edit().putBoolean("gpu", value).apply()

    /** In percent, of the [model]; null until the user chose another than its contract's. */
    var threshold: Int?
        get() = kept.getInt("threshold of $model", UNSET).takeIf { it != UNSET }
        set(value) = kept.edit().putInt("threshold of $model", value ?: UNSET).apply()

    /** Whether the camera's picture fills the screen, or is shown whole. */
    var fill: Boolean
        get() = kept.getBoolean("fill", false)
        set(value) = kept.edit().putBoolean("fill", value).apply()

    val scaleMode get() = if (fill) ScaleMode.CROP else ScaleMode.FIT

    var front: Boolean
        get() = kept.getBoolean("front", false)
        set(value) = kept.edit().putBoolean("front", value).apply()

    private companion object {
        const val UNSET = -1
    }
}
