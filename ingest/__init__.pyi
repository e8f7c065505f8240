# the ingest and its settings
from .pipeline import ingest as ingest
from .report import IngestReport as IngestReport
from .report import Progress as Progress
from .pipeline import Cancelled as Cancelled
from .config import IngestConfig as IngestConfig
from .config import load_config as load_config

from .ocr.engine import ocr_engine as ocr_engine
from .pipeline import reocr as reocr

# libraries
from .library import Library as Library
from .library import open_library as open_library
from .store.opening import open_store as open_store
from .store.opening import libraries as libraries
from .store.opening import remove_library as remove_library
from .library import find_document as find_document
from .library import remove_document as remove_document
from .library import reindex as reindex
from .library import copy_library as copy_library
from .library import incomplete_documents as incomplete_documents
from .library import library_key as library_key
from .library import check_embedder as check_embedder

# what a library holds
from .text.chunks import Chunk as Chunk
from .store.contract import Document as Document
from .store.contract import Hit as Hit
from .store.contract import LibrarySummary as LibrarySummary
from .store.contract import Store as Store

# files and pages
from .files.pdf_store import PdfStore as PdfStore
from .files.names import UPLOAD as UPLOAD
from .files.names import file_name as file_name
from .files.sources import is_link as is_link
from .pdf.render import page_rectangles as page_rectangles
from .pdf.render import page_tables as page_tables
from .pdf.render import render_page as render_page
from .pdf.tables import TableRow as TableRow

# embedders
from .embed.identity import Embedder as Embedder
from .embed.weights import find_weights as find_weights
from .embed.load import load_embedder as load_embedder
from .embed.cross_encoder import CrossEncoder as CrossEncoder
from .embed.cross_encoder import load_cross_encoder as load_cross_encoder

# flags of commands
from .cli.flags import add_library_flags as add_library_flags
from .cli.flags import library_flags as library_flags

# errors
from .errors import IngestError as IngestError
from .errors import IdentityMismatch as IdentityMismatch
from .errors import StoreError as StoreError

# text analysis
from .text.language import asking_words as asking_words
from .text.language import capitalizes_nouns as capitalizes_nouns
from .text.sentences import Sentence as Sentence
from .text.words import content_terms as content_terms
from .text.words import name_words as name_words
from .text.words import numbers as numbers
from .text.sentences import split_sentences as split_sentences
from .text.sentences import sentence_breaks as sentence_breaks
from .text.tables import is_table_row as is_table_row
from .text.tables import table_share as table_share
from .text.words import terms as terms
