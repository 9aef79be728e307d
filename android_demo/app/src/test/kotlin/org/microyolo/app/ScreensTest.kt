package org.microyolo.app

import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Insets
import android.graphics.Rect
import android.view.View
import android.view.ViewGroup
import android.view.WindowInsets
import android.widget.SeekBar
import android.widget.TextView
import java.io.File
import kotlin.math.max
import kotlin.math.min
import org.junit.Assert.assertEquals
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config

/**
 * Every state on every kind of screen: drawn into the folder of the system property shots, if it is set, and looked at
 * for what makes it usable: names, sizes, contrast, nothing cut off. Every two of the five choices meet in one kind.
 */
@RunWith(AppRunner::class)
@Config(sdk = [35])
class ScreensTest {
    private val bars: WindowInsets =
        WindowInsets.Builder().setInsets(WindowInsets.Type.systemBars(), Insets.of(0, 24, 0, 24)).build()
    private val shots = System.getProperty("shots")?.let(::File)

    @Test fun phone() = everything("phone", "en-ldltr-w411dp-h891dp-port-notnight", 1f)

    @Test fun `phone, dark, right to left`() = everything("phone_dark_rtl", "iw-ldrtl-w411dp-h891dp-port-night", 1f)

    @Test fun `phone, sideways, dark, large`() =
        everything("phone_land_dark_large", "en-ldltr-w891dp-h411dp-land-night", 1.5f)

    @Test fun `phone, sideways, large, right to left`() =
        everything("phone_land_rtl_large", "iw-ldrtl-w891dp-h411dp-land-notnight", 1.5f)

    @Test fun `tablet, large, right to left`() =
        everything("tablet_rtl_large", "iw-ldrtl-w800dp-h1280dp-xlarge-port-notnight", 1.5f)

    @Test fun `tablet, dark, large`() = everything(
        "tablet_dark_large",
        "en-ldltr-w800dp-h1280dp-xlarge-port-night",
        1.5f
    )

    @Test fun `tablet, sideways`() = everything("tablet_land", "en-ldltr-w1280dp-h800dp-xlarge-land-notnight", 1f)

    @Test fun `tablet, sideways, dark, right to left`() =
        everything("tablet_land_dark_rtl", "iw-ldrtl-w1280dp-h800dp-xlarge-land-night", 1f)

    private fun everything(name: String, qualifiers: String, font: Float) {
        RuntimeEnvironment.setQualifiers("$qualifiers-mdpi")
        RuntimeEnvironment.setFontScale(font)
        val faults = State.entries.flatMap { state -> faults(name, state).map { "${state.name.lowercase()}: $it" } }
        assertEquals(name, emptyList<String>(), faults)
    }

    private fun faults(name: String, state: State): List<String> {
        val phone = Phone()
        state.reach(phone)
        val root = phone.activity.window.decorView
        root.dispatchApplyWindowInsets(bars)
        phone.settle()
        val drawn = draw(root)
        shots?.let { folder ->
            val file = folder.resolve("${state.name.lowercase()}-$name.png")
            file.parentFile!!.mkdirs()
            file.outputStream().use { drawn.compress(Bitmap.CompressFormat.PNG, 100, it) }
        }
        val views = all(root).filter { it.isShown }
        val found = views.filter { it.isClickable || it is SeekBar }.flatMap(::usable) +
            contrasts(root, views.filterIsInstance<TextView>().filter { it.text.isNotEmpty() })
        phone.end()
        phone.forget()
        return found
    }

    private fun draw(root: View): Bitmap =
        Bitmap.createBitmap(root.width, root.height, Bitmap.Config.ARGB_8888).also { root.draw(Canvas(it)) }

    private fun all(view: View): List<View> = listOf(view) +
        if (view is ViewGroup) (0 until view.childCount).flatMap { all(view.getChildAt(it)) } else listOf()

    private fun usable(view: View): List<String> {
        val what = view.resources.getResourceEntryName(view.id)
        val least = 48 * view.resources.displayMetrics.density
        val node = view.createAccessibilityNodeInfo()
        val names = listOfNotNull(node.text, node.contentDescription, label(view))
        return listOfNotNull(
            "$what has no name".takeIf { names.all { it.isEmpty() } },
            "$what is ${view.width}x${view.height}".takeIf { min(view.width, view.height) < least }
        )
    }

    /** Of the view that says labelFor. */
    private fun label(view: View) =
        all(view.rootView).filterIsInstance<TextView>().find { it.labelFor == view.id }?.text

    /** Texts of too little contrast to the worst of what is behind them, and those that are cut off. */
    private fun contrasts(root: View, texts: List<TextView>): List<String> {
        val colours = texts.associateWith { it.textColors }
        for (text in texts) text.setTextColor(Color.TRANSPARENT)
        val behind = draw(root)
        for ((text, colour) in colours) text.setTextColor(colour)
        return texts.flatMap { text ->
            val colour = colours.getValue(text).getColorForState(text.drawableState, 0)
            val place = letters(text)
            val ratio = if (place.isEmpty) BEST else worst(behind, place, colour)
            val layout = text.layout
            val cut = (0 until layout.lineCount).any { layout.getEllipsisCount(it) > 0 } ||
                layout.height > text.height - text.totalPaddingTop - text.totalPaddingBottom
            listOfNotNull(
                "'${text.text}' has contrast ${"%.2f".format(ratio)}".takeIf { ratio < 4.5 && text.isEnabled },
                "'${text.text}' is cut off".takeIf { cut }
            )
        }
    }

    /** Where in the window a text's letters are, as far as they are seen. */
    private fun letters(text: TextView): Rect {
        val place = Rect()
        if (!text.getGlobalVisibleRect(place)) return Rect()
        val lines = text.layout.run { 0 until lineCount }
        val (x, y) = IntArray(2).also(text::getLocationInWindow)
        val left = x + text.totalPaddingLeft + lines.minOf { text.layout.getLineLeft(it) }.toInt()
        val right = x + text.totalPaddingLeft + lines.maxOf { text.layout.getLineRight(it) }.toInt()
        val top = y + text.totalPaddingTop
        return if (place.intersect(left, top, right, top + text.layout.height)) place else Rect()
    }

    private fun worst(behind: Bitmap, place: Rect, colour: Int): Double {
        val pixels = IntArray(place.width() * place.height())
        behind.getPixels(pixels, 0, place.width(), place.left, place.top, place.width(), place.height())
        return pixels.toSet().minOf { contrast(over(colour, it), it) }
    }

    private fun over(colour: Int, back: Int): Int {
        val alpha = Color.alpha(colour) / 255f
        fun mix(of: (Int) -> Int) = (of(colour) * alpha + of(back) * (1 - alpha)).toInt()
        return Color.rgb(mix(Color::red), mix(Color::green), mix(Color::blue))
    }

    /** WCAG 2.2. */
    private fun contrast(one: Int, other: Int): Double {
        val (a, b) = Color.luminance(one) + 0.05 to Color.luminance(other) + 0.05
        return max(a, b) / min(a, b)
    }

    private companion object {
        const val BEST = 21.0
    }
}
