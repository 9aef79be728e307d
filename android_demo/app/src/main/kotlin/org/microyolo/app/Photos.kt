package org.microyolo.app

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import org.microyolo.core.RgbImage

/** An upright picture, for the screen and for the detector. */
class Photo(val bitmap: Bitmap, val image: RgbImage)

/** Reads pictures that the user chose. */
class Photos(private val resolver: ContentResolver) {
    /** The picture at [uri], shrunk to [MAX_PIXELS] and [MAX_SIDE]; null if it is not one. [IOException] if unreadable. */
    fun read(uri: Uri): Photo? {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        open(uri) { BitmapFactory.decodeStream(it, null, bounds) }
        if (bounds.outWidth < 1 || bounds.outHeight < 1) return null
        val options =
            BitmapFactory.Options().apply {
                inSampleSize = RgbImage.sampleSize(bounds.outWidth, bounds.outHeight, MAX_PIXELS, MAX_SIDE)
            }
        val decoded = open(uri) { BitmapFactory.decodeStream(it, null, options) } ?: return null
        val turn = Matrix().apply { setValues(open(uri, ::orientation)) }
        val upright =
            if (turn.isIdentity) {
                decoded
            } else {
                Bitmap.createBitmap(
                    decoded,
                    0,
                    0,
                    decoded.width,
                    decoded.height,
                    turn,
                    true
                )
            }
        return Photo(upright, rgb(upright))
    }

    private fun rgb(bitmap: Bitmap): RgbImage {
        val image = RgbImage(bitmap.width, bitmap.height)
        val row = IntArray(bitmap.width)
        for (y in 0 until bitmap.height) {
            bitmap.getPixels(row, 0, bitmap.width, 0, y, bitmap.width, 1)
            image.setRow(y, row)
        }
        return image
    }

    private fun orientation(stream: InputStream): FloatArray {
        val tag =
            try {
                ExifInterface(stream).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
            } catch (_: IOException) {
                // Pictures without EXIF, such as PNGs, are as they are.
                ExifInterface.ORIENTATION_NORMAL
            }
        val (a, b, c, d) =
            when (tag) {
                ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> listOf(-1f, 0f, 0f, 1f)
                ExifInterface.ORIENTATION_ROTATE_180 -> listOf(-1f, 0f, 0f, -1f)
                ExifInterface.ORIENTATION_FLIP_VERTICAL -> listOf(1f, 0f, 0f, -1f)
                ExifInterface.ORIENTATION_TRANSPOSE -> listOf(0f, 1f, 1f, 0f)
                ExifInterface.ORIENTATION_ROTATE_90 -> listOf(0f, -1f, 1f, 0f)
                ExifInterface.ORIENTATION_TRANSVERSE -> listOf(0f, -1f, -1f, 0f)
                ExifInterface.ORIENTATION_ROTATE_270 -> listOf(0f, 1f, -1f, 0f)
                else -> listOf(1f, 0f, 0f, 1f)
            }
        return floatArrayOf(a, b, 0f, c, d, 0f, 0f, 0f, 1f)
    }

    private fun <T> open(uri: Uri, read: (InputStream) -> T): T =
        (resolver.openInputStream(uri) ?: throw FileNotFoundException(uri.toString())).use(read)

    private companion object {
        const val MAX_PIXELS = 12_000_000

        /** What the GPUs of all devices with Android 7.0 can draw. */
        const val MAX_SIDE = 4096
    }
}
